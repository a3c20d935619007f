"""docs/developing.md, "Look inside": every command runs as it stands there, and shows what it is said to show."""

import json
import os
import signal
import subprocess

import pytest

from tests.docs.examples import blocks
from tests.stack import Api, Stack, alive, children, eventually

COMMANDS = [block for block in blocks("docs/developing.md") if block.kind.startswith("sh") and block.kind != "sh written"]


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Api:
    return stack.api()


def said(stack: Stack, heading: str, *marks: str, **environment: str) -> str:
    """Run the one block under a heading that has these words in it; returns what it prints."""
    [block] = [b for b in COMMANDS if b.heading == heading and all(mark in b.text for mark in marks)]
    done = subprocess.run(["sh", "-ec", block.text], cwd=stack.root, env={**stack.env, **environment}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_command_is_left_out_here() -> None:
    assert [(b.heading, b.kind) for b in COMMANDS] == [
        ("Is all there?", "sh"), ("Read a queue", "sh"), ("Read a queue", "sh"), ("Look at a task's state", "sh"), ("Ask the workers", "sh"),
        ("Debug a task", "sh"), ("Debug a task", "sh worker"), ("Run one test", "sh"),
    ]  # fmt: skip


def test_the_doctor_and_the_facts(stack: Stack) -> None:
    eventually(lambda: "BAD" not in subprocess.run(["sh", "-c", ".venv/bin/python run.py doctor"], cwd=stack.root, env=stack.env, capture_output=True, text=True, timeout=60).stdout, 60)  # fmt: skip
    shown = said(stack, "Is all there?")
    assert "ok   database" in shown and json.loads(shown[shown.index("{") :])["pids"]["worker"] > 0


def test_a_message_that_waits_is_read_in_its_queue_and_its_run_in_the_rows(stack: Stack, admin: Api) -> None:
    worker = stack.info["pids"]["worker"]
    there = [worker, *children(worker)]
    for pid in there:
        os.kill(pid, signal.SIGSTOP)
    try:
        body = admin.create("waits-in-line")

        def waits() -> str | None:
            shown = said(stack, "Read a queue", "lrange")
            return shown if f"runs.execute {body['task_id']}" in " ".join(shown.split()) else None

        shown = eventually(waits, 30, "the message is in its queue")
        assert "terraform 1" in shown and body["task_id"] in shown.partition("terraform 1")[2].partition("proxmox")[0]
        assert "plan_queued" in said(stack, "Read a queue", "Outbox")
        assert said(stack, "Look at a task's state", TASK_ID=body["task_id"]).split() == ["PENDING", "None"]
    finally:
        for pid in reversed(there):
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
    admin.wait_run(body["run_id"], "applied", timeout_s=120)
    eventually(lambda: said(stack, "Look at a task's state", TASK_ID=body["task_id"]).startswith("SUCCESS "), 30, "its result is stored")


def test_the_workers_say_what_they_serve_and_know(stack: Stack) -> None:
    shown = said(stack, "Ask the workers")
    assert "terraform@" in shown and "actions@" in shown
    assert "runs.execute" in shown and "greetings.execute" in shown


def test_a_service_is_called_without_a_worker(stack: Stack) -> None:
    said(stack, "Debug a task", "sweeper.tick")
    [(ago,)] = stack.sql("select extract(epoch from now() - (value->>'at')::timestamptz) from setting where key = 'sweeper.last_tick'")
    assert ago < 60


def test_a_worker_in_a_terminal_serves_the_queue(stack: Stack) -> None:
    [block] = [b for b in COMMANDS if b.kind == "sh worker"]
    told = stack.data_dir / "debug-worker.log"
    with told.open("wb") as out:
        worker = subprocess.Popen(["sh", "-ec", "exec " + block.text], cwd=stack.root, env=stack.env, stdout=out, stderr=out, start_new_session=True)
    try:
        eventually(lambda: "debug@" in told.read_text() and "ready" in told.read_text(), 60, "the worker is ready")
        eventually(lambda: "debug@" in said(stack, "Ask the workers"), 30, "it answers")
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


def test_one_test_is_run(stack: Stack) -> None:
    assert said(stack, "Run one test").count(" passed") == 2
