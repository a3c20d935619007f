# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cluster's state on disk: state.json as of a moment, and a journal of everything changed since.

A change is in the journal before its request is answered, so killing this process loses nothing that somebody was
told. Nothing is synced: a power cut may cost the last seconds.
"""

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

from simulator.base import UNMADE, Base, Fields, Volumes, write_private

KEPT = (
    "name", "node", "status", "qmpstatus", "config", "pending", "template", "lock", "pool", "snapshots", "started_at",
)  # fmt: skip
JOURNAL_MAX_BYTES = 8 * 1024**2
TASKS_KEPT = 500


def facts_of(vm: Any) -> Fields:
    """Return what is kept of a guest."""
    return {key: getattr(vm, key) for key in KEPT}


class Journal:
    """An append-only file of JSON lines; a line holds the whole new value of one thing."""

    def __init__(self, folder: Path, number: int) -> None:
        self.path, self.number, self.size = folder / f"journal-{number}.jsonl", number, 0
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)

    def write(self, lines: list[list[Any]]) -> None:
        """Append the lines with one write."""
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        done = 0
        while done < len(text):
            done += os.write(self._file, text[done:])
        self.size += len(text)

    def remove(self) -> None:
        """Close and delete the file."""
        os.close(self._file)
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> list[list[Any]]:
    """Return the whole lines of a journal; a line cut off by the process's end was never answered."""
    lines: list[list[Any]] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines


class State(Base):
    """Keeps the cluster on disk and brings it back."""

    journal: Journal | None = None
    _rest_kept = ""

    def keep(self, vmid: int | None = None, task: Fields | None = None) -> None:
        """Write what has changed to the journal: this guest, this task, and whatever was noted as changed."""
        if self.journal is None:
            return
        if vmid is not None:
            self.vms.changed.add(vmid)
        lines: list[list[Any]] = []
        for sid, store in self.storages.items():
            volumes = store["volumes"]
            lines += [["volume", sid, name, volumes.get(name)] for name in volumes.changed]
            volumes.changed.clear()
        for changed in self.vms.changed:
            vm = self.vm(changed)
            lines.append(["vm", changed, facts_of(vm) if vm else None])
        self.vms.changed.clear()
        if task is not None:
            lines.append(["task", task])
        rest = self._rest()
        text = json.dumps(rest)
        if text != self._rest_kept:
            self._rest_kept = text
            lines.append(["rest", rest])
        if lines:
            self.journal.write(lines)
        if self.journal.size > JOURNAL_MAX_BYTES:
            self.save()

    def keep_line(self, upid: str, text: str) -> None:
        """Write a line of a running task's log."""
        if self.journal is not None:
            self.journal.write([["line", upid, text]])

    def _rest(self) -> Fields:
        """Return the small things, kept as one."""
        now = time.time()
        for ticket in [ticket for ticket, session in self.tickets.items() if session["expires"] < now]:
            del self.tickets[ticket]
        pools = {name: sorted(members) for name, members in self.pools.items()}
        info = {name: {**one, "storage": sorted(one["storage"])} for name, one in self.pool_info.items()}
        return {"tickets": self.tickets, "pools": pools, "pool_info": info, "firewall": self._fw()}

    def save(self) -> None:
        """Write everything to state.json and begin a new journal.

        The file names its journal: a stop between the two steps leaves an old journal that nobody reads.
        """
        old = self.journal
        number = old.number + 1 if old else self._number + 1
        for store in self.storages.values():
            store["volumes"].changed.clear()
        self.vms.changed.clear()
        rest = self._rest()
        data = {
            "journal": number, "saved": time.time(), "rest": rest, "tasks": self.tasklog[-TASKS_KEPT:],
            "vms": {vm.vmid: facts_of(vm) for vm in self.vms},
            "volumes": {sid: store["volumes"] for sid, store in self.storages.items()},
        }  # fmt: skip
        journal = Journal(self.folder, number)
        write_private(self.folder / "state.json", json.dumps(data))
        self.journal, self._rest_kept = journal, json.dumps(rest)
        if old is not None:
            old.remove()

    _number = 0

    def load(self) -> bool:
        """Bring back the cluster of the last process; False if there was none."""
        path = self.folder / "state.json"
        if not path.exists():
            return False
        data = json.loads(path.read_text(encoding="utf-8"))
        self._number = data["journal"]
        tasks = {task["upid"]: task for task in data["tasks"]}
        current = self.folder / f"journal-{self._number}.jsonl"
        for kind, *values in read_journal(current):
            _replay(data, tasks, kind, values)
        self._restore(data, tasks)
        for left in self.folder.glob("journal-*.jsonl"):
            if left != current:
                left.unlink()
        self.save()
        current.unlink(missing_ok=True)
        return True

    def _restore(self, data: Fields, tasks: dict[str, Fields]) -> None:
        for sid, volumes in data["volumes"].items():
            # A storage that the specification no longer has keeps its volumes, out of reach.
            store = self.storages.setdefault(sid, {"type": "dir", "content": "", "active": 0, "files": set()})
            store["volumes"] = Volumes(volumes)
        for vmid, facts in data["vms"].items():
            vm = self.add_vm(int(vmid), facts["name"], node=facts["node"])
            vars(vm).update(facts)
        rest = data["rest"]
        self.pools = {name: set(members) for name, members in rest["pools"].items()}
        self.pool_info = {name: {**one, "storage": set(one["storage"])} for name, one in rest["pool_info"].items()}
        self.tickets = rest["tickets"]
        fw = rest["firewall"]
        self._fw().update(fw, guests={int(vmid): conf for vmid, conf in fw["guests"].items()})
        self.tasks, self.tasklog = tasks, sorted(tasks.values(), key=lambda task: task["pid"])
        self._pids = itertools.count(max([999, *(task["pid"] for task in tasks.values())]) + 1)
        self._end_interrupted()

    def _end_interrupted(self) -> None:
        """Undo what the stop cut off: half made guests go, locks are freed, tasks say so."""
        cut = [task for task in self.tasklog if task["status"] == "running"]
        for task in cut:
            text = "unexpected status"
            task.update(status="stopped", exitstatus=text, endtime=int(time.time()))
            task["log"].append("TASK ERROR: " + text)
        ids = {task["id"] for task in cut}
        for vm in list(self.vms):
            if vm.lock in UNMADE:
                self.discard(vm)
            elif vm.lock and vm.lock != "suspended" and (str(vm.vmid) in ids or "" in ids):
                self._qm_lock(vm, None)


def _replay(data: Fields, tasks: dict[str, Fields], kind: str, values: list[Any]) -> None:
    """Put one line of the journal over the state it belongs to."""
    if kind == "vm":
        vmid, facts = str(values[0]), values[1]
        if facts is None:
            data["vms"].pop(vmid, None)
        else:
            data["vms"][vmid] = facts
    elif kind == "volume":
        sid, name, volume = values
        volumes = data["volumes"].setdefault(sid, {})
        if volume is None:
            volumes.pop(name, None)
        else:
            volumes[name] = volume
    elif kind == "task":
        tasks[values[0]["upid"]] = values[0]
    elif kind == "line":
        if values[0] in tasks:
            tasks[values[0]]["log"].append(values[1])
    elif kind == "rest":
        data["rest"] = values[0]
