# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every part of the simulated cluster shares: its attributes, its units and a few lookups."""

import asyncio
import collections
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from fakepve import FakePve, FakeVm
from fakepve.server import ok

Fields = dict[str, Any]
# A line of a task's log, or (seconds of the simulated cluster before it, line).
Step = str | tuple[float, str]
GIB, MIB = 1024**3, 1024**2
COPY_RATE, RAM_RATE = 200 * MIB, 1024 * MIB  # bytes a second
BOOT_SECS = 8.0  # from the start to the guest agent's first answer
# A guest with one of these locks has no config yet: real Proxmox writes it when the task ends.
UNMADE = ("clone", "create")
USAGE_OF_UNMADE = {"maxmem": 512 * MIB, "maxcpu": 1, "maxdisk": 0}


def human(size: float) -> str:
    """Write a byte count as PVE::Format::render_bytes does: 1.2 GiB."""
    unit = min(int(math.log(size, 1024)), 5) if size >= 1 else 0
    return f"{size / 1024**unit:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"


def wave(seed: int, period: float, now: float) -> float:
    """Return a figure in 0..1 that moves with time and is the same for the same seed and time."""
    return 0.5 + 0.3 * math.sin(6.283 * now / period + seed * 1.7) + 0.2 * math.sin(16.98 * now / period + seed)


def transfer(size: int, line: str) -> Iterator[Step]:
    """Yield the progress lines of a copy, one a percent (fewer for small disks), in the wording of `line`."""
    parts = max(1, min(100, size // (100 * MIB)))
    for i in range(parts + 1):
        text = line.format(done=human(size * i // parts), total=human(size), pct=100 * i / parts)
        yield size / COPY_RATE / parts if i else 0.0, text


def write_private(path: Path, text: str) -> None:
    """Write a file for this user only: a new one, renamed over the old."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    fresh.replace(path)


class Guests(list[Any]):
    """The guests with an index by VMID (fakepve walks the list for every lookup) and the changed ones."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[int, Any] = {}
        self.changed: set[int] = set()

    def append(self, vm: Any) -> None:
        super().append(vm)
        self.by_id[vm.vmid] = vm
        self.changed.add(vm.vmid)

    def remove(self, vm: Any) -> None:
        super().remove(vm)
        self.by_id.pop(vm.vmid, None)
        self.changed.add(vm.vmid)


class Volumes(dict[str, Fields]):
    """The volumes of a storage by name, and the names of the changed ones."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.changed: set[str] = set(self)

    def __setitem__(self, name: str, volume: Fields) -> None:
        super().__setitem__(name, volume)
        self.changed.add(name)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.changed.add(name)

    def pop(self, name: str, *default: Any) -> Any:
        self.changed.add(name)
        return super().pop(name, *default)


class Base(FakePve):  # type: ignore[misc, unused-ignore]  # fakepve carries no types
    """fakepve with the attributes that the parts below add to it."""

    spec: Fields
    folder: Path
    vms: Guests
    started: float
    clone_seconds: float | None
    clone_limit: int
    cloning: "collections.Counter[Any]"
    aborted: set[str]
    task_faults: dict[tuple[str, int], str]  # (type, VMID of the guest) → the error it ends in
    silent: set[int]  # guests whose agent does not answer
    running_tasks: "set[asyncio.Task[None]]"

    def vm(self, vmid: int) -> Any:
        """Return the guest, or None."""
        return self.vms.by_id.get(vmid)

    def is_file(self, sid: str) -> bool:
        """True if the storage holds files (images, backups), not block volumes."""
        return self.storages[sid]["type"] in ("dir", "nfs", "cifs", "cephfs", "btrfs")

    def home_of(self, sid: str, node: str) -> str | None:
        """Return the node whose volumes these are; None on a shared storage."""
        return None if self.storages[sid].get("shared") else node

    def _volumes(self, name: str) -> Volumes:
        volumes: Volumes = self.storages[name].setdefault("volumes", Volumes())
        return volumes

    def room(self, sid: str, node: str) -> tuple[int, int, int]:
        """Return (total, used, free) bytes as seen from a node: local storages have their own space."""
        store = self.storages[sid]
        used = store.get("fill", 0) + sum(
            int(volume.get("size") or 0)
            for volume in store["volumes"].values()
            if store.get("shared") or volume.get("node") == node
        )
        total = store.get("total_gib", 100) * GIB
        return total, min(used, total), max(total - used, 0)

    def power_on(self, vm: FakeVm, since: float | None = None) -> None:
        """Run the guest, without a task."""
        vm.status = vm.qmpstatus = "running"
        vm.started_at = since or time.time()


def answered(data: Any = None) -> web.Response:
    """Return the API's envelope around the data."""
    answer: web.Response = ok(data)
    return answer


def bridges_of(config: Fields) -> list[str]:
    """Return the bridges that the NICs of a config are plugged into."""
    nics = [str(value) for key, value in config.items() if re.fullmatch(r"net\d+", key)]
    return [bridge for nic in nics for bridge in re.findall(r"bridge=([^,]+)", nic)]
