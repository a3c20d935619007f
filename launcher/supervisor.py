"""Keeps the children of one instance alive, and ends them in order.

One thread and no handlers: the signals that matter are blocked and waited for, so that every fork happens in the main
thread (the kernel ties a child's death to the *thread* that forked it) and nothing interrupts half a step.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedded.process import StartError, tail
from launcher.instance import Pids
from launcher.screen import complain

TICK_S = 0.02
IDLE_S = 5.0
BACKOFF_S = (0.5, 1, 2, 5, 10, 30)
# A child that lived for so long starts anew with the shortest pause.
HEALTHY_S = 60
STOP_BUDGET_S = 9.0
_STOP = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_WATCHED = _STOP | {signal.SIGCHLD}

Spawn = Callable[[], "subprocess.Popen[bytes]"]


class Stopped(Exception):
    """The person asked to stop."""


class NotStarted(Exception):
    """A part did not come up; the text says which and shows the end of its log."""


@dataclass
class Child:
    """One process that is meant to run."""

    name: str
    spawn: Spawn
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    once: bool = False
    process: "subprocess.Popen[bytes] | None" = None
    began: float = 0.0
    failures: int = 0
    due: float | None = None
    ready: bool = field(default=False)

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self.process is not None and self.process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it did."""
        return self.process.returncode if self.process else None


class Supervisor:
    """The children by name, in the order in which they were started."""

    def __init__(self, pids: Pids) -> None:
        self.pids = pids
        self.children: dict[str, Child] = {}
        self.starting = True
        self.killed = False
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)

    def start(self, child: Child) -> Child:
        """Start a child and watch it from now on."""
        self.children[child.name] = child
        self._spawn(child)
        return child

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Watch until the condition holds. Raises Stopped, NotStarted."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise NotStarted(f"{what} did not come up within {timeout_s:.0f} s")
            self.tick(TICK_S)

    def watch(self) -> None:
        """Keep everything running until asked to stop. Raises Stopped."""
        self.starting = False
        while True:
            due = [c.due for c in self.children.values() if c.due is not None]
            self.tick(min([IDLE_S, *(max(0.0, d - time.monotonic()) for d in due)]))

    def tick(self, timeout_s: float) -> None:
        """Wait for a signal or the timeout, then notice ends and make due restarts. Raises Stopped, NotStarted."""
        info = signal.sigtimedwait(_WATCHED, timeout_s)
        if info is not None and info.si_signo in _STOP:
            raise Stopped
        for child in self.children.values():
            if child.running and child.process is not None and child.process.poll() is not None:
                self._ended(child)
            if child.due is not None and time.monotonic() >= child.due:
                self._spawn(child)

    def stop(self, phases: Sequence[Sequence[str]]) -> bool:
        """End the children phase by phase within the budget. False when some had to be killed."""
        end = time.monotonic() + STOP_BUDGET_S
        for child in self.children.values():
            child.due = None
        for index, phase in enumerate(phases):
            members = [self.children[name] for name in phase if name in self.children]
            for child in members:
                _signal(child, child.stop_signal)
            # Each later phase keeps a second for itself.
            limit = end - (len(phases) - 1 - index)
            if not self._all_gone(members, limit):
                self._kill(members)
        self.pids.forget()
        return not self.killed

    def kill(self) -> None:
        """End everything at once. What was committed is safe."""
        self._kill(list(self.children.values()))
        self.pids.forget()

    def _all_gone(self, members: Sequence[Child], limit: float) -> bool:
        while any(c.process is not None and c.process.poll() is None for c in members):
            if time.monotonic() > limit:
                return False
            info = signal.sigtimedwait(_WATCHED, 0.05)
            # A second Ctrl-C: the person does not want to wait.
            if info is not None and info.si_signo in _STOP:
                complain("stopping at once")
                self._kill(list(self.children.values()))
        return True

    def _kill(self, members: Sequence[Child]) -> None:
        for child in members:
            if child.process is not None and child.process.poll() is None:
                self.killed = True
                complain(f"{child.name} did not end by itself and is killed")
                try:
                    # Its whole group: what it forked and did not send away into a session of its own.
                    os.killpg(child.process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for child in members:
            if child.process is not None:
                child.process.wait(5)

    def _spawn(self, child: Child) -> None:
        child.due = None
        child.began = time.monotonic()
        try:
            child.process = child.spawn()
        except (OSError, StartError) as exc:
            if self.starting:
                raise NotStarted(f"{child.name} cannot be started: {exc}") from exc
            complain(f"{child.name} cannot be started: {exc}")
            self._retry(child)
            return
        self.pids.note(child.name, child.process.pid)

    def _ended(self, child: Child) -> None:
        if child.once:
            return
        if self.starting:
            raise NotStarted(f"{child.name} ended with {_code(child)} while starting; the end of {child.log}:\n{tail(child.log, 2000)}")
        if time.monotonic() - child.began > HEALTHY_S:
            child.failures = 0
        self._retry(child)

    def _retry(self, child: Child) -> None:
        pause = BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)]
        child.failures += 1
        child.due = time.monotonic() + pause
        complain(f"  {child.name} ended with {_code(child)}; starting it again in {pause:g} s ({child.log})")


def _signal(child: Child, sig: signal.Signals) -> None:
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(sig)


def _code(child: Child) -> str:
    code = child.exit_code
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
