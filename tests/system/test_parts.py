"""Single parts started beside a running instance, as on a machine that has only one of them."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import ROOT, Stack, eventually, free_port

CELERY = [sys.executable, "-m", "celery", "-A", "app.celery_app"]


@contextlib.contextmanager
def part(stack: Stack, log: Path, argv: list[str], **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a part with the instance's environment; it is told to stop afterwards and must obey."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, cwd=ROOT, env={**stack.env, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def status(url: str, user: str = "") -> int:
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.parametrize(
    ("argv", "queues"),
    [
        ([*CELERY, "worker", "-c", "1", "-n", "plain@%h", "-l", "INFO"], {"terraform", "proxmox", "default"}),
        ([sys.executable, "run.py", "worker"], {"terraform", "proxmox", "default"}),
        ([sys.executable, "run.py", "worker", "-Q", "proxmox,default"], {"proxmox", "default"}),
    ],
)
def test_a_worker_alone_serves_all_queues_unless_told(stack: Stack, tmp_path: Path, argv: list[str], queues: set[str]) -> None:
    log = tmp_path / "worker.log"
    with part(stack, log, argv, TERRAFORM_WORKERS="1"):
        eventually(lambda: b"ready." in log.read_bytes(), 60, "the worker is ready")
        name = log.read_text().rpartition(" ready.")[0].split()[-1].strip('"')
        asked = subprocess.run(
            [*CELERY, "inspect", "active_queues", "--json", "-d", name, "-t", "10"],
            cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert {q["name"] for q in json.loads(asked.stdout)[name]} == queues, asked.stderr


def test_the_web_server_alone_answers_on_its_own_port(stack: Stack, tmp_path: Path) -> None:
    port = str(free_port())
    with part(stack, tmp_path / "web.log", [sys.executable, "run.py", "web"], PORT=port):
        eventually(lambda: status(f"http://127.0.0.1:{port}/healthz") == 200, 60, "the second web server answers")


def test_flower_alone_wants_the_password(stack: Stack, tmp_path: Path) -> None:
    port = str(free_port())
    password = json.loads((stack.data_dir / "instance.json").read_text())["flower_password"]
    with part(stack, tmp_path / "flower.log", [sys.executable, "run.py", "flower"], FLOWER_PORT=port):
        eventually(lambda: status(f"http://127.0.0.1:{port}/") == 401, 60, "Flower refuses strangers")
        assert status(f"http://127.0.0.1:{port}/", f"admin:{password}") == 200


def test_migrating_again_changes_nothing(stack: Stack) -> None:
    assert stack.cli("migrate") == ""
    assert status(f"{stack.base}/readyz") == 200


def test_what_nobody_waits_for_stands_behind_what_somebody_waits_for(stack: Stack) -> None:
    pids, own = stack.info["pids"], os.getpriority(os.PRIO_PROCESS, 0)
    priorities = {name: os.getpriority(os.PRIO_PROCESS, pid) - own for name, pid in pids.items() if pid}
    behind = {"worker_actions", "beat", "flower"}
    assert {name: value > 0 for name, value in priorities.items()} == {name: name in behind for name in pids if pids[name]}
    if Path("/proc/self/autogroup").exists():
        groups = {name: int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1]) for name, pid in pids.items() if pid}
        assert groups == priorities
