"""Leaving a run to another machine: when everything on this one dies together, as in a container that is stopped.

SIGINT or SIGTERM to the runner: Terraform finishes the servers it has begun and saves; the lease is given up, so that
another runner goes on at once. The launcher sends it (launcher/together.py); nothing else does.
"""

import contextlib
import json
import os
import signal
import threading
from types import FrameType

from app.runner import process
from app.runner.context import RunContext

REASON = "leave"


class Leaving(Exception):
    """This machine is shut down; the run is anybody's."""


def obey_signals(context: RunContext) -> None:
    """From now on leave when told to, and say under which pid to tell it."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        # A thread: what is interrupted here may hold the locks that this needs.
        threading.Thread(target=context.stop, args=(REASON,), daemon=True).start()

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    # A full disk is no reason to fail here: the run says so itself, in words.
    with contextlib.suppress(OSError):
        (context.folder / "runner").write_text(json.dumps([os.getpid(), process.start_time(os.getpid())]))


def check(context: RunContext) -> None:
    """Raise Leaving when told to leave; for loops that wait for something outside."""
    if context.reason == REASON:
        raise Leaving("told to")
