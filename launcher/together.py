"""A worker whose runners die with it, as in a container: they are told to leave, and are waited for.

Alone on its machine a worker leaves within seconds, and its runners go on without it. Where the end of this process ends
everything (PID 1 of a container), runners are told to finish what they have begun; whoever stops the container must
grant the time (`stop_grace_period`, `terminationGracePeriodSeconds`: longer than the longest clone).
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from app.config import ROOT, Settings
from launcher import parts
from launcher.parts import Command

POLL_S = 0.2
_STOP = {signal.SIGINT, signal.SIGTERM}


def wanted(settings: Settings) -> bool:
    """True when runners cannot outlive this process."""
    return settings.runners_end_with_worker == "on" or (settings.runners_end_with_worker == "auto" and os.getpid() == 1)


def run(settings: Settings, command: Command) -> int:
    """Run the worker until it ends, then wait for the runners; the worker's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP | {signal.SIGCHLD})
    worker = subprocess.Popen(
        command.argv, cwd=ROOT, env=parts.environment(settings, command), preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP | {signal.SIGCHLD})
    )  # fmt: skip
    code: int | None = None
    while code is None:
        got = signal.sigtimedwait(_STOP | {signal.SIGCHLD}, 5)
        if got is not None and got.si_signo in _STOP:
            # The worker claims nothing more and leaves; the runners begin to finish meanwhile.
            worker.send_signal(signal.SIGTERM)
            _tell(settings)
        code = _reap(worker)
    _tell(settings)
    while any(_runners(settings)):
        _tell(settings)  # one that was being forked when the first word went out
        _reap(worker)
        signal.sigtimedwait({signal.SIGCHLD}, POLL_S)
    return code


def _reap(worker: "subprocess.Popen[bytes]") -> int | None:
    """Collect whatever has ended: as PID 1 this process inherits the runners. Returns the worker's exit code once it has one."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return worker.returncode
        if pid == 0:
            return worker.returncode
        if pid == worker.pid:
            worker.returncode = os.waitstatus_to_exitcode(status)


def _runners(settings: Settings) -> Iterator[int]:
    """Yield the pids of runners of this machine that live."""
    for path in (settings.data_dir / "runs").glob("*/runner"):
        with contextlib.suppress(OSError, ValueError):
            pid, start = json.loads(path.read_text())
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if stat[0] not in "ZX" and int(stat[19]) == start:
                yield int(pid)


_told: dict[int, float] = {}


def _tell(settings: Settings) -> None:
    for pid in _runners(settings):
        # Told again from time to time: before it listens a signal would have killed it, and one may be missed.
        if time.monotonic() - _told.get(pid, float("-inf")) > 5:
            _told[pid] = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
