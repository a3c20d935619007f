"""docs/operations.md: plain commands run against an instance as they stand there; those for containers name what there is."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import yaml

from tests.docs.examples import ROOT, Block, blocks
from tests.stack import Api, Stack, eventually, running

DOCUMENT = "docs/operations.md"
TEXT = (ROOT / DOCUMENT).read_text("utf-8")
PLAIN = [block for block in blocks(DOCUMENT) if block.kind == "sh"]
REDIS_CLI = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli -h "$REDIS_HOST" -p "$REDIS_PORT"'
COMMANDS = ("web", "worker", "beat", "flower", "migrate", "doctor", "rotate-keys", "backup", "restore", "info", "token", "user")


@pytest.fixture(scope="module")
def instance() -> Iterator[Stack]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def admin(instance: Stack) -> Api:
    return instance.api()


def environment(stack: Stack) -> dict[str, str]:
    """What an administrator has in the environment: where PostgreSQL and Redis are."""
    kept = json.loads((stack.data_dir / "instance.json").read_text())
    url = urlsplit(kept["redis_url"])
    return {**stack.env, "DATABASE_URL": kept["database_url"].replace("+psycopg2", ""), "REDIS_HOST": url.hostname or "", "REDIS_PORT": str(url.port), "REDIS_PASSWORD": url.password or ""}


def said(stack: Stack, block: Block, **more: str) -> str:
    """Run a block without the lines of redis-cli where that is not installed; those are asked of Redis itself."""
    env = environment(stack)
    text = block.text
    if shutil.which("redis-cli") is None:
        text = "".join(line for line in text.splitlines(keepends=True) if "redis-cli" not in line)
    done = subprocess.run(["sh", "-ec", text], cwd=ROOT, env={**env, **more}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def under(heading: str, mark: str = "") -> Block:
    [block] = [block for block in PLAIN if block.heading == heading and mark in block.text]
    return block


def test_no_plain_command_is_left_out_here() -> None:
    assert [block.heading for block in PLAIN] == [
        "Is it well?", "Logs", "Rotate keys", "A run is stuck", "No notifications arrive", "No notifications arrive", "The queue grows",
    ]  # fmt: skip


def test_a_healthy_instance_says_so_everywhere(instance: Stack) -> None:
    eventually(lambda: not subprocess.run(["sh", "-c", ".venv/bin/python run.py doctor >/dev/null"], cwd=ROOT, env=environment(instance), timeout=60).returncode, 60)
    shown = said(instance, under("Is it well?"))
    assert "ok   database" in shown and "accepting connections" in shown and "pong" in shown and '"ok": true' in shown


def test_redis_knows_the_commands_that_are_given_for_it(instance: Stack) -> None:
    client = redis.Redis.from_url(json.loads((instance.data_dir / "instance.json").read_text())["redis_url"], decode_responses=True)
    given = re.findall(re.escape(REDIS_CLI) + r" ([^\n;]+)", "".join(block.text for block in PLAIN))
    assert given == ["ping", "LLEN $queue"]
    assert client.execute_command(given[0]) is True
    for queue in ("terraform", "proxmox", "default"):
        assert client.execute_command(*given[1].replace("$queue", queue).split()) >= 0
    client.close()


def test_one_id_finds_what_a_request_has_caused_in_every_log(instance: Stack, admin: Api) -> None:
    answer = admin.call("POST", "/api/servers/async", {"name": "told", "template": "ubuntu-24.04"}, {"X-Request-ID": "find-me-0123456789"})
    admin.wait_run(answer.json["run_id"], "applied", timeout_s=120)

    def logged() -> list[dict[str, Any]] | None:
        found = [json.loads(line) for line in said(instance, under("Logs"), REQUEST_ID="find-me-0123456789").splitlines()]
        return found if {"runner_started", "runner_ended", "run_transitioned"} <= {line["event"] for line in found} else None

    lines = eventually(logged, 30, "worker and runner have logged it")
    assert {(line["request_id"], line["run_id"]) for line in lines if "run_id" in line} == {("find-me-0123456789", answer.json["run_id"])}
    assert {line["task_id"] for line in lines if line["event"] in ("runner_started", "runner_ended")} == {answer.json["task_id"]}


def test_the_logs_are_where_the_table_says(instance: Stack) -> None:
    [row] = [line for line in TEXT.splitlines() if line.startswith("| `make run` | `DATA_DIR/log/`")]
    there = {path.name for path in (instance.data_dir / "log").glob("*.log")}
    assert set(re.findall(r"`(\w+\.log)`", row)) == there
    assert list((instance.data_dir / "log" / "runs").glob("*-1.log"))


def test_a_run_that_goes_on_is_seen_with_its_runner(instance: Stack, admin: Api) -> None:
    instance.control("time", clone_seconds=4)
    body = admin.create("seen")
    admin.wait_run(body["run_id"], "applying", timeout_s=60)
    shown = said(instance, under("A run is stuck"))
    row = next(line for line in shown.splitlines() if line.split("|")[0].strip() == str(body["run_id"]))
    assert "applying" in row and str(instance.runner_pid(body["run_id"])) in row
    admin.wait_run(body["run_id"], "applied", timeout_s=120)
    instance.control("reset")


def test_the_event_stream_says_hello_and_stays_open(instance: Stack, admin: Api) -> None:
    assert ": hello" in said(instance, under("No notifications arrive", "curl"), TOKEN=admin.token)


def test_a_destination_that_does_not_answer_is_listed_with_its_error(instance: Stack, admin: Api) -> None:
    made = admin.post("/api/destinations", {"name": "nowhere", "url": "json://127.0.0.1:1/hook", "level": "all"})
    assert made.codes == {"url": "delivery_address_local"}, made.text
    made = admin.post("/api/destinations", {"name": "nowhere", "url": "json://192.0.2.1/hook", "level": "all"})
    assert made.status == 201, made.text
    shown = said(instance, under("No notifications arrive", "psql"))
    assert re.search(r"nowhere +\|.*\| t +\|", shown), shown


def test_the_length_of_queues_and_who_serves_them_is_shown(instance: Stack) -> None:
    shown = said(instance, under("The queue grows"))
    assert 'tpm_queue_length{queue="terraform"} 0' in shown and "tpm_workers_up 2" in shown and "tpm_outbox_rows" in shown
    assert "terraform@" in shown and "actions@" in shown


def test_keys_are_rotated_while_everything_goes_on(instance: Stack) -> None:
    assert "cluster.secret: 0 encrypted anew, 1 were already" in said(instance, under("Rotate keys"))


# ---- commands for containers: not executed here
def lines(kind: str) -> list[list[str]]:
    words = [shlex.split(line) for block in blocks(DOCUMENT) if block.kind == f"sh {kind}" for line in block.text.splitlines()]
    cells = re.findall(r"`((?:docker compose|kubectl) [^`]+)`", TEXT)
    prefix = "docker" if kind == "compose" else "kubectl"
    return words + [shlex.split(cell) for cell in cells if cell.startswith(prefix)]


def inside(command: list[str]) -> None:
    """What is executed in a container is a command that there is."""
    if command[:2] == ["python", "run.py"]:
        assert command[2] in COMMANDS
    elif command[0] == "celery":
        assert command[1:4] == ["-A", "app.adapters.broker", "inspect"]
    else:
        assert command[0] in ("sh", "python", "psql", "pg_isready", "rabbitmqctl"), command


def test_commands_for_compose_name_services_that_there_are() -> None:
    services = yaml.safe_load((ROOT / "docker/compose.yml").read_text())["services"]
    found = lines("compose")
    assert len(found) > 12
    for words in found:
        assert words[:4] == ["docker", "compose", "-f", "docker/compose.yml"], words
        rest = [word for word in words[4:] if word not in ("--profile", "rabbitmq")] if "exec" not in words else words[words.index("exec") :]
        if rest[0] == "exec":
            assert rest[1] in services, words
            inside(rest[2:])
        else:
            assert rest[0] in ("up", "ps", "stop", "restart", "logs"), words
            assert all(word in services for word in rest[1:] if not word.startswith("-")), words


def test_commands_for_kubernetes_name_deployments_that_there_are() -> None:
    base = ROOT / "deploy/k8s/base"
    there = {(doc["kind"], doc["metadata"]["name"]) for path in base.glob("*.yaml") for doc in yaml.safe_load_all(path.read_text()) if doc and "metadata" in doc}
    found = lines("kubernetes")
    assert len(found) > 6
    for words in found:
        if "apply" in words:
            continue
        assert words[:3] == ["kubectl", "-n", "tpm"], words
        for word in words:
            if word.startswith("deploy/"):
                assert ("Deployment", word.removeprefix("deploy/")) in there, words
        if "job" in words:
            assert ("Job", words[words.index("job") + 1]) in there
        if "--" in words:
            inside(words[words.index("--") + 1 :])


def test_named_files_and_settings_are_there() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    for name in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", TEXT):
        assert re.search(rf"^#{name}=", example, re.MULTILINE) or name in ("REQUEST_ID",), name
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists() or target == "../CHANGELOG.md", target
    assert (ROOT / "monitoring/alerts.yml").exists() and "supervisor-web.log" in (ROOT / "supervisor.conf").read_text()
