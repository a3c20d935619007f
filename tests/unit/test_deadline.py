"""Time limits of tasks that run in threads."""

import subprocess
import sys
import threading

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from app import deadline

HANGS = """
import sys, threading
from app import deadline
deadline.LOOK_S = 0.05
deadline.watch()
with deadline.limited("hangs", 0.1, 0.4):
    while True:
        try:
            while True:
                pass
        except BaseException as exc:      # a task that swallows what it is told
            print(type(exc).__name__, flush=True)
"""


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    # Looked at by the tests themselves instead of a thread.
    monkeypatch.setattr(deadline, "_watching", True)


def test_a_task_that_takes_too_long_gets_an_exception_in_its_thread_once() -> None:
    seen: list[str] = []
    began, told = threading.Event(), threading.Event()

    def task() -> None:
        try:
            with deadline.limited("slow", 0.001, 60):
                began.set()
                while True:
                    pass
        except SoftTimeLimitExceeded:
            seen.append("told")
        told.set()

    worker = threading.Thread(target=task, daemon=True)
    worker.start()
    assert began.wait(10)
    while not told.is_set():
        deadline.look()
    worker.join(10)
    deadline.look()
    assert seen == ["told"] and not deadline._running


def test_a_task_that_is_quick_enough_hears_nothing_and_one_without_limits_is_not_watched() -> None:
    with deadline.limited("quick", 60, 120):
        deadline.look()
        assert [task.told for task in deadline._running.values()] == [False]
    with deadline.limited("a run", 0, 0):
        assert not deadline._running
    assert not deadline._running


def test_a_task_that_does_not_listen_ends_its_process() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == deadline.EXIT_CODE and done.stdout.splitlines().count("SoftTimeLimitExceeded") == 1
    assert "task_over_hard_limit" in done.stderr + done.stdout
