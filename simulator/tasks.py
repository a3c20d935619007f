# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tasks that take time, write a log as they go, and can be stopped."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from typing import Any

from fakepve import FakeVm, PveError, TaskError
from fakepve.routing import param_error

from simulator.base import UNMADE, Base, Fields, Step, bridges_of

# What each kind of task takes, in seconds of the simulated cluster.
SECS = {
    "qmstart": 3, "qmshutdown": 6, "qmstop": 1, "qmreboot": 9, "qmreset": 1, "qmsuspend": 2, "qmresume": 1,
    "qmdestroy": 2, "qmtemplate": 2, "qmcreate": 2, "resize": 1,
}  # fmt: skip
LOGGER = logging.getLogger(__name__)
TASKS_MAX = 5000
LISTED = 50


class Tasks(Base):
    """Tasks of the cluster."""

    # The steps of the clone that is being requested; its task takes them up before anything else can run.
    clone_log: Iterator[Step]

    async def task(
        self, node: str, ttype: str, tid: Any, user: str, body: Callable[[], Awaitable[str | None]],
        vm: FakeVm | None = None, lock: bool = True, log: Iterable[Step] = (),
    ) -> str:  # fmt: skip
        """Start a task and return its UPID. `log` holds lines, and pauses before lines."""
        upid, pid, start = self._upid(node, ttype, tid, user)
        record = {
            "upid": upid, "node": node, "pid": pid, "pstart": pid * 7, "starttime": start, "type": ttype,
            "id": str(tid), "user": user, "status": "running", "log": [],
        }  # fmt: skip
        self.tasks[upid] = record
        self.tasklog.append(record)
        for old in self.tasklog[:-TASKS_MAX]:
            self.tasks.pop(old["upid"], None)
        del self.tasklog[:-TASKS_MAX]
        self.keep(vm.vmid if vm is not None else None, record)
        steps = self.clone_log if ttype == "qmclone" else log
        real_s = self.clone_seconds if ttype == "qmclone" else None
        if ttype == "qmclone":
            self.cloning[int(tid)] += 1
        run = self._run(record, body, vm, lock, steps, real_s)
        if self.time_scale or real_s:
            task = asyncio.ensure_future(run)
            self.running_tasks.add(task)
            task.add_done_callback(self.running_tasks.discard)
        else:
            await run
        return str(upid)

    async def _run(
        self, record: Fields, body: Callable[[], Awaitable[str | None]], vm: FakeVm | None, lock: bool,
        steps: Iterable[Step], real_s: float | None,
    ) -> None:  # fmt: skip
        upid, ttype = record["upid"], record["type"]
        status, held = "OK", False
        try:
            if vm is not None and lock:
                await self.acquire(vm, upid)
                held = True
            paced = self._steps(SECS.get(ttype, 0), steps) if real_s is None else self._steps_within(real_s, steps)
            fault = self.task_faults.pop((ttype, vm.vmid), None) if vm is not None else None
            async for line in paced:
                if upid in self.aborted:
                    raise TaskError("interrupted by signal")
                self._say(record, line)
                if fault and line:
                    break  # not before the log shows that it began
            if fault:
                raise TaskError(fault)
            if vm is not None and ttype in ("qmstart", "qmreboot"):
                self._before_boot(vm)
            for line in (await body() or "").splitlines():
                self._say(record, line)
        except (TaskError, PveError) as e:
            status = getattr(e, "message", None) or str(e)
        except Exception:
            LOGGER.exception("task %s", upid)
            status = "internal error"
        self._end(record, status, steps, vm, held)

    def _end(self, record: Fields, status: str, steps: Iterable[Step], vm: FakeVm | None, held: bool) -> None:
        if record["type"] == "qmclone":
            self.cloning[int(record["id"])] -= 1
        if isinstance(steps, Generator):
            steps.close()  # lets its `finally` free what it locked
        if held:
            self.release(vm, record["upid"])
        if status != "OK" and vm is not None and vm.lock in UNMADE:
            self.discard(vm)
        self.aborted.discard(record["upid"])
        record["log"].append("TASK OK" if status == "OK" else "TASK ERROR: " + status)
        record.update(status="stopped", exitstatus=status, endtime=int(time.time()))
        self.keep(vm.vmid if vm is not None else None, record)

    def _say(self, record: Fields, line: str) -> None:
        if line:
            record["log"].append(line)
            self.keep_line(record["upid"], line)

    async def _steps(self, first: float, steps: Iterable[Step]) -> Any:
        """Yield the lines, each after its pause."""
        for step in itertools.chain([(first, "")], steps):
            secs, line = (0.0, step) if isinstance(step, str) else step
            await self.pause(secs)
            yield line

    async def _steps_within(self, real_s: float, steps: Iterable[Step]) -> Any:
        """Yield the lines so that all pauses together take exactly that many real seconds."""
        began = time.monotonic()
        kept = [(0.0, step) if isinstance(step, str) else step for step in steps]
        total, passed = sum(secs for secs, _line in kept), 0.0
        for secs, line in kept:
            passed += secs
            if secs:
                await asyncio.sleep(max(0.0, began + real_s * passed / total - time.monotonic()))
            yield line
        await asyncio.sleep(max(0.0, began + real_s - time.monotonic()))
        yield ""

    def _before_boot(self, vm: FakeVm) -> None:
        """Apply what waited for the boot. Raises TaskError for a bridge that is not there."""
        self.flush(vm)
        known = {network["iface"] for network in self.spec["networks"]}
        for bridge in bridges_of(vm.config):
            if bridge not in known:
                raise TaskError(f"bridge '{bridge}' does not exist")

    async def _task_stop(self, v: Fields, user: str) -> None:
        record = self.tasks.get(v["upid"])
        if record is None:
            raise param_error(upid="no such task")
        if not self._task_owner(user, record):
            self.require(user, "/nodes/" + record["node"], "Sys.Modify")
        if record["status"] == "running":
            self.aborted.add(v["upid"])

    async def _cluster_tasks(self, _v: Fields, user: str) -> list[Fields]:
        seen = (
            task
            for task in reversed(self.tasklog)
            if self._task_owner(user, task) or self.allowed(user, "/nodes/" + task["node"], "Sys.Audit")
        )
        return [self._task_view(task, True) for task in itertools.islice(seen, LISTED)]

    def _routes_task_parts(self) -> list[tuple[str, str, Callable[..., Awaitable[Any]]]]:
        return [
            ("DELETE", "/nodes/{node}/tasks/{upid}", self._task_stop),
            ("GET", "/cluster/tasks", self._cluster_tasks),
        ]
