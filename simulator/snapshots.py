# SPDX-License-Identifier: AGPL-3.0-or-later
"""Snapshots as Proxmox makes them: locked while they take, seen in the making, with memory, disks and all."""

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any

from fakepve import FakeVm
from fakepve.lxc import parse_size
from fakepve.qemu import drives_of, is_cdrom, volume_ref

from simulator.base import RAM_RATE, Base, Fields, Step

# Type of task → the lock it holds, and the seconds it takes without memory.
HELD = {"qmsnapshot": ("snapshot", 3.0), "qmrollback": ("rollback", 3.0), "qmdelsnapshot": ("snapshot-delete", 2.0)}


class Snapshots(Base):
    """What fakepve does at the end of a task takes time here, and other calls see it being done."""

    # Of the call that is being answered; its task takes it up before anything else can run.
    _asked: Fields

    async def _qm_snapshot(self, v: Fields, user: str) -> str:
        self._asked = v
        return str(await super()._qm_snapshot(v, user))

    async def _qm_rollback(self, v: Fields, user: str) -> str:
        self._asked = v
        return str(await super()._qm_rollback(v, user))

    async def _qm_snapshot_delete(self, v: Fields, user: str) -> str:
        self._asked = v
        return str(await super()._qm_snapshot_delete(v, user))

    async def task(
        self, node: str, ttype: str, tid: Any, user: str, body: Callable[[], Awaitable[str | None]],
        vm: FakeVm | None = None, lock: bool = True, log: Iterable[Step] = (),
    ) -> str:  # fmt: skip
        """Start a task; one of snapshots holds the VM's lock for as long as it takes."""
        if vm is not None and ttype in HELD:
            asked, make = self._asked, body

            async def whole() -> str | None:
                return await self._rolled_back(vm, asked, make) if ttype == "qmrollback" else await make()

            body, log = whole, self._held(vm, ttype, asked)
        return str(await super().task(node, ttype, tid, user, body, vm=vm, lock=lock, log=log))

    def _held(self, vm: FakeVm, ttype: str, asked: Fields) -> Generator[Step, None, None]:
        """Yield the time it takes, under the lock; a VM that is locked already is left to fakepve's refusal."""
        name, (lock, secs) = asked["snapname"], HELD[ttype]
        there = vm.snapshots.get(name)
        if vm.lock or (there is None) != (ttype == "qmsnapshot"):
            return
        memory = bool(asked.get("vmstate")) if there is None else bool(there.get("vmstate"))
        if there is None:
            parent = {"parent": vm.config["parent"]} if vm.config.get("parent") else {}
            vm.snapshots[name] = {"snapstate": "prepare", "description": asked.get("description") or "", **parent}
        elif ttype == "qmdelsnapshot":
            there["snapstate"] = "delete"
        self._qm_lock(vm, lock)
        self.keep(vm.vmid)
        try:
            ram = int(vm.config.get("memory", 512)) * 1024 * 1024
            yield secs + (ram / RAM_RATE if memory and ttype != "qmdelsnapshot" else 0), ""
        finally:
            self._qm_lock(vm, None)
            if there is None:
                vm.snapshots.pop(name, None)
            else:
                there.pop("snapstate", None)

    async def _rolled_back(self, vm: FakeVm, asked: Fields, make: Callable[[], Awaitable[str | None]]) -> str | None:
        """Roll back as Proxmox does: sizes too, later disks become unused, and with memory the VM runs on."""
        before = {volume for _key, volume, _props in drives_of(vm.config)}
        text = await make()
        memory = vm.config.pop("vmstate", None)
        kept = set()
        for _key, volume, props in drives_of(vm.config):
            kept.add(volume)
            sid, volume_name = volume_ref(volume)
            held = self._volumes(sid).get(volume_name)
            if held is not None and not is_cdrom(volume, props):
                self._volumes(sid)[volume_name] = {**held, "size": parse_size(props.get("size", "0")) or held["size"]}
        for key in [k for k, volume in vm.config.items() if k.startswith("unused") and volume in kept]:
            del vm.config[key]
        for volume in sorted(before - kept):
            if "cloudinit" not in volume:
                vm.config[next(f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)] = volume
        if memory:
            self.power_on(vm)
        return text
