"""What one run's process knows and shares between its parts."""

import json
import os
import select
import threading
from dataclasses import dataclass

from flask import Flask

from app import tracing
from app.adapters import figures
from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.terraform import events
from app.adapters.terraform.binary import tool_environment
from app.adapters.terraform.process import Keeper
from app.adapters.terraform.skeleton import Skeleton
from app.config import get_settings
from app.runner import process
from app.runner.lease import Lease
from app.runner.patience import LOST, WAIT_S, patient
from app.runner.state_server import StateServer
from app.services import run_execution
from app.services.run_execution import LogPiece
from app.services.run_facts import RunFacts, ServerFacts
from app.services.uow import UnitOfWork
from app.streaming.events import Event, append

Target = ServerFacts
# Reasons for which Terraform is killed, by what they are worse than.
OUTWEIGHED = {"stop": ("cancel", "deadline"), "overdue": ("deadline", "cancel")}
KILLED = frozenset(OUTWEIGHED)


@dataclass(frozen=True)
class Claimed:
    """The run as it was when this process claimed it."""

    run_id: int
    fence: int
    resumed: bool
    run: RunFacts


class RunContext:
    """Lease, keeper, state server, log: made in an order that matters (the keeper before any thread)."""

    def __init__(self, app: Flask, claimed: Claimed, skeleton: Skeleton) -> None:
        self.app, self.claimed, self.skeleton = app, claimed, skeleton
        self.run_id, self.fence, self.facts = claimed.run_id, claimed.fence, claimed.run
        self.folder = get_settings().data_dir / "runs" / str(self.run_id)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.reason: str | None = None  # why Terraform was told to stop: KILLED, or cancel, lease, fenced, deadline
        self.lock_fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.keeper = Keeper(self.lock_fd)
        self._reason_lock = threading.Lock()
        self.lease = Lease(self.run_id, self.fence, self.stop, get_settings().run_deadline_s, get_settings().run_deadline_grace_s)
        self.lease.start()
        self.state = StateServer(app, self.run_id, self.facts.workspace_id, self.fence, lambda: self.stop("fenced"))
        self.elsewhere = False  # the former runner was on another machine and did not say that it left
        self._lines = 0
        self.begun: set[str] = set()  # slugs that Terraform works on or has finished
        self.done: set[str] = set()
        # Slugs of VMs in the state that Terraform was killed over, or that it has taken over half-made; done ones are not.
        self.unfinished: set[str] = set()

    @property
    def slugs(self) -> list[str]:
        return [t.slug for t in self.facts.servers]

    def stop(self, reason: str) -> None:
        """Have Terraform told to stop, once; the first reason stays, but killing outweighs asking and a lost fence all."""
        with self._reason_lock:
            again = reason == self.reason
            if self.reason is None or reason == "fenced" or self.reason in OUTWEIGHED.get(reason, ()):
                self.reason = reason
        if reason not in KILLED:
            self.keeper.stop()
        elif not again:
            self.keeper.stop(kill=True)

    def told_to_stop(self) -> bool:
        """True once somebody gave a reason; other threads do."""
        return self.reason is not None

    def proxmox(self) -> ProxmoxClient:
        """Return a client of this thread's own."""
        return ProxmoxClient(self.facts.access)

    def close(self) -> None:
        """End the threads."""
        self.lease.close()
        self.state.close()

    # ---------------------------------------------------------------- log
    def say(self, text: str) -> None:
        """Write a line of our own into the run's log."""
        self._lines += 1
        self._ship(LogPiece("runner", self._lines, text.rstrip() + "\n", moved=True))

    def note(self, name: str, **detail: object) -> None:
        """Write an event into the run's timeline."""
        patient(lambda uow: run_execution.note(uow, self.run_id, self.fence, name, **detail))

    def _ship(self, piece: LogPiece, wait_s: float = WAIT_S) -> bool:
        def work(uow: UnitOfWork) -> dict[str, object] | None:
            return run_execution.append_log(uow, self.run_id, self.fence, piece)

        try:
            told = patient(work, wait_s)
        except LOST:
            return False
        if told:
            # Not through the outbox: a lost one costs nothing, the next carries the offsets on.
            append([Event("log", self.facts.audience, told)])
        return True

    # ---------------------------------------------------------------- Terraform
    def run_terraform(self, argv: list[str], phase: str, log: bool = True, total: int | None = None, *, anyway: bool = False) -> int:
        """Run Terraform to its end with its output going to the log as it comes; -1 when told not to begin (unless `anyway`).

        Raises KeeperGone, Fenced.
        """
        with tracing.span(f"terraform {phase.partition('-')[0]}", phase=phase, run_id=self.run_id):
            return self._run_terraform(argv, phase, log, total, anyway)

    def _run_terraform(self, argv: list[str], phase: str, log: bool, total: int | None, anyway: bool) -> int:
        if self.told_to_stop() and not anyway:
            return -1
        out = self.folder / f"{phase}.out"
        out.touch(mode=0o600)
        tail = process.Tail(out)
        poll = select.poll()
        poll.register(tail.fd, select.POLLIN)
        poll.register(self.keeper.sock, select.POLLIN)
        self.state.lock.clear()  # whoever held it has ended: the keeper has one child at a time
        self.keeper.start(argv, self.folder, self._environment(), phase)
        if self.told_to_stop() and not anyway:  # meanwhile
            self.keeper.stop(kill=self.reason in KILLED)
        code: int | None = None
        try:
            while code is None:
                poll.poll(5000)
                code = self.keeper.result()
                if log:
                    self._follow(tail, phase, code is not None, total)
        finally:
            tail.close()
        figures.count(figures.TERRAFORM_EXITS, phase.partition("-")[0], str(code))
        if log and code not in (0, 2):
            self._crash_text(phase)
        return code

    def _environment(self) -> dict[str, str]:
        trust = {"SSL_CERT_FILE": str(self.facts.ca_file)} if self.facts.ca_file else {}
        return {
            **tool_environment(self.folder, self.skeleton.cli_config),
            **self.facts.environment,
            **self.state.environment(),
            **trust,
        }

    def _follow(self, tail: process.Tail, phase: str, at_end: bool, total: int | None) -> None:
        while True:
            start, data = tail.lines(at_end)
            if not data:
                return
            parsed = list(events.parse(data))
            finished = {slug for e in parsed if (slug := events.done(e))}
            self.begun |= {slug for e in parsed if (slug := events.begun(e))}
            text = "".join(t for e in parsed if (t := events.readable(e, phase.startswith("apply")))).replace("\x00", "")
            if text:
                done = frozenset(self.done | finished) if total is not None else None
                # The file is the buffer: while the database is away the same offset goes out with the next line.
                piece = LogPiece(phase, start, text, len(data), None, done, total, moved=any(map(events.moves, parsed)))
                if not self._ship(piece, WAIT_S if at_end else 0.0):
                    return
            for event in parsed:
                if slug := events.done(event):
                    tracing.past("server", events.elapsed_s(event), server=slug)
            self.done |= finished
            tail.taken(data)

    def _crash_text(self, phase: str) -> None:
        """Terraform's stderr is empty unless something went wrong before JSON output began."""
        path = self.folder / f"{phase}.err"
        text = path.read_text("utf-8", "replace").replace("\x00", "").strip() if path.exists() else ""
        if text:
            self._ship(LogPiece(f"{phase}-stderr"[:40], 0, text[-20_000:] + "\n"))

    def take_in_log(self) -> None:
        """Add what a former runner of this run did not live to log, from its output files."""
        for path in sorted(self.folder.glob("*.out"), key=lambda p: p.stat().st_mtime):
            phase, _, rest = path.stem.partition("-")
            of_fence = int(rest.partition("-")[0]) if rest.partition("-")[0].isdigit() else self.fence
            if of_fence >= self.fence or phase not in ("plan", "apply"):
                continue
            known = patient(lambda uow, f=of_fence, p=path.stem: run_execution.logged_until(uow, self.run_id, f, p))  # type: ignore[misc]  # bound now
            data = path.read_bytes()[known:]
            parsed = list(events.parse(data))
            text = "".join(t for e in parsed if (t := events.readable(e, phase == "apply"))).replace("\x00", "")
            if text:
                self._ship(LogPiece(path.stem, known, text, len(data), of_fence))

    def events_of(self, phase: str) -> list[dict[str, object]]:
        """Return all events of a phase."""
        path = self.folder / f"{phase}.out"
        return list(events.parse(path.read_bytes())) if path.exists() else []

    def words_of(self, phase: str) -> list[str]:
        """Return the lines of a phase that are no events, such as a crash's."""
        said = [str(e["@message"]) for e in self.events_of(phase) if e.get("type") == "text"]
        path = self.folder / f"{phase}.err"
        said += path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        return [line.strip() for line in said if line.strip()]

    def shown(self, phase: str) -> dict[str, object]:
        """Return the JSON document a phase printed."""
        try:
            parsed = json.loads((self.folder / f"{phase}.out").read_bytes())
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
