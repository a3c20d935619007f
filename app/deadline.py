"""Time limits of tasks in a worker of threads, where Celery enforces none.

    watch()                                     # once, in the worker
    with limited("inventory.poll", soft_s=600, hard_s=1200):
        ...                                     # after the first limit an exception is raised in here

A thread cannot be killed. After the second limit the process ends: whoever started it starts it again, and the broker gives
its other messages to the next worker, where their claims make a repetition harmless.
"""

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from celery.exceptions import SoftTimeLimitExceeded

from app.log import get_logger

log = get_logger(__name__)
LOOK_S = 1.0
EXIT_CODE = 70
_lock = threading.Lock()
_running: "dict[int, _Task]" = {}
_watching = False


@dataclass
class _Task:
    name: str
    thread_id: int
    soft_s: float
    hard_s: float
    began: float = field(default_factory=time.monotonic)
    told: bool = False


def watch() -> None:
    """From now on the limits of this process's tasks are kept."""
    global _watching  # noqa: PLW0603 - one worker a process
    if not _watching:
        _watching = True
        threading.Thread(target=_keep_watching, name="deadlines", daemon=True).start()


@contextmanager
def limited(name: str, soft_s: float, hard_s: float) -> Iterator[None]:
    """Hold a task to its limits; nothing where the pool does so itself. Raises SoftTimeLimitExceeded inside."""
    if not _watching or not soft_s:
        yield
        return
    task = _Task(name, threading.get_ident(), soft_s, hard_s)
    with _lock:
        _running[id(task)] = task
    try:
        yield
    finally:
        try:
            with _lock:
                _running.pop(id(task), None)
        except SoftTimeLimitExceeded:  # in the very moment in which it ended by itself
            _running.pop(id(task), None)


def _keep_watching() -> None:
    while True:
        time.sleep(LOOK_S)
        look()


def look() -> None:
    """Look once at what runs for too long."""
    now = time.monotonic()
    with _lock:
        for task in _running.values():
            age_s = now - task.began
            if age_s > task.hard_s:
                log.critical("task_over_hard_limit", task=task.name, seconds=round(age_s))
                os._exit(EXIT_CODE)
            if age_s > task.soft_s and not task.told:
                task.told = True
                log.error("task_over_soft_limit", task=task.name, seconds=round(age_s))
                # Under the lock: the thread is still in its task, and gets the exception there and not in the next one.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(task.thread_id), ctypes.py_object(SoftTimeLimitExceeded))
