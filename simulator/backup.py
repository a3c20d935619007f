# SPDX-License-Identifier: AGPL-3.0-or-later
"""vzdump makes archives, restore takes them."""

import copy
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fakepve import TaskError
from fakepve.qemu import drives_of, split_drive, volume_ref, with_mac
from fakepve.routing import die, split_list

from simulator.base import Base, Fields, Step, human, transfer

PACKED = 3  # an archive is this many times smaller than its disks


class Backups(Base):
    """Backup and restore."""

    async def _vzdump(self, v: Fields, user: str) -> str:
        sid, node = v.get("storage") or "local", v["node"]
        vms = [self.find(node, vmid) for vmid in split_list(v.get("vmid"))]
        self.require(user, "/storage/" + sid, "Datastore.AllocateSpace")
        if "backup" not in split_list(self._store(sid).get("content")):
            raise die(f"could not get storage information for '{sid}': storage '{sid}' does not support backups")
        for vm in vms:
            self.require(user, f"/vms/{vm.vmid}", "VM.Backup")

        async def body() -> None:
            return None

        single = vms[0].vmid if len(vms) == 1 else ""
        return str(await self.task(node, "vzdump", single, user, body, log=self._backup_steps(v, sid, vms)))

    def _backup_steps(self, v: Fields, sid: str, vms: list[Any]) -> Iterator[Step]:
        mode = v.get("mode", "snapshot")
        yield f"INFO: starting new backup job: vzdump {v.get('vmid')} --storage {sid} --mode {mode}"
        for vm in vms:
            name = f"backup/vzdump-qemu-{vm.vmid}-{time.strftime('%Y_%m_%d-%H_%M_%S')}.vma.zst"
            size = self._vm_maxdisk(vm)
            self._check_lock(vm)
            if size // PACKED > self.room(sid, v["node"])[2]:
                raise TaskError("job errors")
            self._qm_lock(vm, "backup")
            self.keep()
            try:
                yield f"INFO: Starting Backup of VM {vm.vmid} (qemu)"
                yield f"INFO: creating vzdump archive '{self._volume_path(sid, name, 'backup')}'"
                yield from transfer(size, "INFO: {pct:3.0f}% ({done} of {total})")
            finally:
                self._qm_lock(vm, None)
            notes = v.get("notes-template", vm.name).replace("{{guestname}}", vm.name)
            self._volumes(sid)[name] = {
                "content": "backup", "format": "vma.zst", "size": size // PACKED, "vmid": vm.vmid,
                "ctime": int(time.time()), "node": self.home_of(sid, v["node"]), "saved": copy.deepcopy(vm.config),
                "notes": notes,
            }  # fmt: skip
            yield f"INFO: archive file size: {human(size // PACKED)}"
            yield f"INFO: Finished Backup of VM {vm.vmid}"
        yield "INFO: Backup job finished successfully"

    async def _qm_create(self, v: Fields, user: str) -> str:
        if not v.get("archive"):
            return str(await super()._qm_create(v, user))
        vmid, node, old = int(v["vmid"]), v["node"], self.vm(int(v["vmid"]))
        saved = (self._qm_volume(v["archive"]) or {}).get("saved")
        emsg = f"unable to restore VM {vmid} -"
        if saved is None:
            raise die(f"{emsg} volume '{v['archive']}' does not exist")
        if old and not v.get("force"):
            raise die(f"{emsg} VM {vmid} already exists on node '{old.node}'")
        if old and old.status == "running":
            raise die(f"{emsg} vm is running")
        self._check_access(user, volume_ref(v["archive"])[0], "backup", vmid, v["archive"])
        if old:
            self.discard(old)
        name = v.get("name") or saved.get("name", f"VM {vmid}")
        vm = self.add_vm(vmid, name, node=node, config=copy.deepcopy(saved))
        for key in ("template", "parent"):
            vm.config.pop(key, None)
        drives = {key: vm.config.pop(key) for key, _volume, _props in drives_of(vm.config)}
        self._qm_lock(vm, "create")

        async def body() -> None:
            self._restored(vm, drives, v)

        size = self.disk_bytes(drives)
        log: list[Step] = [f"restore vma archive: {v['archive']}"]
        log += transfer(size, "progress {pct:.0f}% (read {done} of {total})")
        return str(await self.task(node, "qmrestore", vmid, user, body, vm=vm, log=log))

    def _restored(self, vm: Any, drives: Fields, v: Fields) -> None:
        """Finish a restored guest: its disks, its NICs, its pool, its power."""
        for key, value in drives.items():
            vm.config[key] = value
            self.relocate(vm, key, v.get("storage") or volume_ref(split_drive(value)[0])[0])
        for key in [key for key in vm.config if re.fullmatch(r"net\d+", key)]:
            vm.config[key] = with_mac(vm.config[key], fresh=bool(v.get("unique")))
        self._qm_lock(vm, None)
        if v.get("pool"):
            self._pool_join(v["pool"], vm.vmid)
        if v.get("start"):
            self.power_on(vm)

    def _routes_backups(self) -> list[tuple[str, str, Callable[..., Awaitable[Any]]]]:
        return [("POST", "/nodes/{node}/vzdump", self._vzdump)]
