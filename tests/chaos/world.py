"""The instance under test, and what a round needs to know about it: processes, phases, people."""

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from tests.chaos import points
from tests.stack import Api, Stack, alive, children

OPEN = "('pending', 'plan_queued', 'planning', 'planned', 'apply_queued', 'applying')"
PEOPLE = {"dana": "developer", "egon": "developer", "olga": "operator"}
POLL_S = 0.02


@dataclass
class Accepted:
    """A request that was answered with 202: it must come to an end."""

    task_id: str
    kind: str
    by: str
    names: list[str]
    run_id: int | None = None


@dataclass
class World:
    """Everything the driver, the faults and the checks share."""

    stack: Stack
    rng: random.Random
    people: dict[str, Api] = field(default_factory=dict)
    accepted: list[Accepted] = field(default_factory=list)
    foreign: dict[int, str] = field(default_factory=dict)  # VMID → digest
    tampered: set[int] = field(default_factory=set)  # VMIDs of ours that somebody changed behind our back
    undo: list[Callable[[], object]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  # what drivers and faults found untrue on their way
    told: set[str] = field(default_factory=set)  # violations that were reported
    struck_at: float = 0.0
    number: int = 0
    judged: int = 0  # the newest run that the checks have seen ended

    def hire(self) -> None:
        """Make the users, and remember the guests that are not ours."""
        self.people["admin"] = self.stack.api()
        for name, role in PEOPLE.items():
            self.people[name] = self.stack.user(name, role)[0]
        for vmid in self.stack.vms():
            self.keep_foreign(vmid)
        points.install(self.stack)

    def keep_foreign(self, vmid: int) -> None:
        """From now on this guest must not change in any way."""
        self.foreign[vmid] = self.stack.control("digest", vmid=vmid)

    def new_name(self) -> str:
        self.number += 1
        return f"c{self.number}-{self.rng.choice(('web', 'db', 'app', 'cache'))}"

    # ---- looking
    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Read the database; waits for one that is away."""
        end = time.monotonic() + 120
        while True:
            try:
                return self.stack.sql(text)
            except psycopg2.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def write(self, text: str) -> None:
        """Change the database as time or a person would."""
        with contextlib.closing(points.connect(self.stack)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(text)

    def newest_run(self) -> int:
        """Return the id of the newest run, 0 when there is none."""
        return int(self.sql("select coalesce(max(id), 0) from run")[0][0])

    def run_of(self, vmid: int) -> int | None:
        """Return the run that works on the server with this VMID now."""
        rows = self.sql(f"select busy_run_id from server where vmid = {vmid} and deleted_at is null and busy_run_id is not null")
        return int(rows[0][0]) if rows else None

    def await_run(self, phase: str, limit_s: float = 15.0) -> int | None:
        """Return a run that is in the phase now; None when none comes to it in time.

        Phases: `queued`, `planning`, `applying`, `cloning` (Proxmox copies disks for it), `any` of the last three.
        """
        states = {"queued": "'plan_queued', 'apply_queued'", "planning": "'planning'", "any": "'planning', 'applying'"}.get(phase, "'applying'")
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            rows = self.sql(f"select id from run where state in ({states}) order by random()")
            if rows and (phase != "cloning" or self._cloning(rows[0][0])):
                return int(rows[0][0])
            if phase != "queued" and not self.sql(f"select 1 from run where state in {OPEN} and state <> 'planned' limit 1"):
                return None
            time.sleep(POLL_S)
        return None

    def _cloning(self, run_id: int) -> bool:
        with contextlib.suppress(OSError):
            vms = self.stack.vms()
            wanted = self.sql(f"select s.vmid from server s join run r on r.workspace_id = s.workspace_id where r.id = {run_id}")
            return any(vms[vmid]["lock"] == "clone" for (vmid,) in wanted if vmid in vms)
        return False

    def runner(self, run_id: int) -> int | None:
        """Return the pid of the run's living runner."""
        rows = self.sql(f"select pid from run_lease where run_id = {run_id} and pid is not null order by fence desc limit 1")
        return int(rows[0][0]) if rows and alive(rows[0][0]) else None

    def below(self, run_id: int) -> dict[str, int]:
        """Return the pids of the run's processes that live: runner, keeper, terraform, provider."""
        found: dict[str, int] = {}
        if (runner := self.runner(run_id)) is None:
            return found
        found["runner"] = runner
        for name in ("keeper", "terraform", "provider"):
            below = [pid for pid in children(found[next(reversed(found))]) if alive(pid)]
            if not below:
                break
            found[name] = below[0]
        return found

    def pid(self, part: str) -> int | None:
        """Return the pid of a part of the instance; None when it does not run."""
        # Not from `run.py info`, which takes longer than some of what is struck here.
        pid, _ = json.loads((self.stack.data_dir / "pids.json").read_text()).get("pids", {}).get(part, (0, 0))
        return int(pid) if pid and alive(pid) else None

    # ---- doing
    def kill(self, pid: int | None, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a process of the instance; False when it is gone."""
        if pid is None or not alive(pid):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def pause(self, pids: Sequence[int]) -> Callable[[], None]:
        """Stop processes; returns what lets them go on."""
        stopped = [pid for pid in pids if self.kill(pid, signal.SIGSTOP)]

        def resume() -> None:
            for pid in stopped:
                self.kill(pid, signal.SIGCONT)

        return resume

    def later(self, action: Callable[[], object]) -> None:
        """Do this before the round settles."""
        self.undo.append(action)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Do this in so many seconds; the round goes on meanwhile and settles no earlier."""

        def work() -> None:
            with contextlib.suppress(OSError):  # what it was done to is gone
                action()

        timer = threading.Timer(seconds, work)
        timer.start()
        self.undo.append(timer.join)

    def take_back(self) -> None:
        """End all that faults have left going on."""
        for action in self.undo:
            with contextlib.suppress(OSError):
                action()
        self.undo.clear()


def descendants(pid: int) -> Iterator[int]:
    """Yield a process's children and theirs."""
    for child in children(pid):
        yield child
        yield from descendants(child)
