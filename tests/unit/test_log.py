"""Log lines are JSON, and nothing secret stands in them, whoever wrote them."""

import json
import logging
import subprocess
import sys

import pytest

from app.log import redact

SAYS = """
import logging, sys
from app.log import configure, get_logger
configure()
get_logger("one").info("signed_in", password="hunter2hunter2", user_id=7, detail={"api_token": "hunter2hunter2", "list": ["Bearer hunter2hunter2"]})
logging.getLogger("library").warning("cannot reach %s", "postgresql://app:hunter2hunter2@db/app")
try:
    raise RuntimeError("PVEAPIToken=tpm@pve!x=hunter2hunter2")
except RuntimeError:
    get_logger("one").exception("broken")
"""


def test_what_is_written_is_json_with_its_event_and_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, timeout=30, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("signed_in", "info"), ("cannot reach postgresql://app:***@db/app", "warning"), ("broken", "error")
    ]  # fmt: skip
    assert "hunter2" not in done.stderr and lines[0]["user_id"] == 7


@pytest.mark.parametrize(("key", "value", "shown"), [
    ("secret_key", "abc", "***"), ("token_id", "me@pve!x", "me@pve!x"), ("url", "amqp://me:pw@host//", "amqp://me:***@host//"), ("url", "redis://:pw@host/0", "redis://:***@host/0"),
    ("text", "tpm_0123456789abcdef", "tpm_***"), ("text", "tpm_01234567", "tpm_***"), ("count", 3, 3), ("path", "/servers/a:b@c", "/servers/a:b@c"),
])  # fmt: skip
def test_a_value_is_masked_where_it_is_secret_and_only_there(key: str, value: object, shown: object) -> None:
    assert redact(logging, "info", {key: value}) == {key: shown}
