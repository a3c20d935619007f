# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clone, resize, disk move and migration of guests."""

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fakepve import TaskError
from fakepve.lxc import format_size, parse_size
from fakepve.model import lock_timeout
from fakepve.qemu import drives_of, is_cdrom, join_drive, split_drive, volume_ref
from fakepve.routing import die, param_error

from simulator.base import COPY_RATE, MIB, RAM_RATE, Base, Fields, Step, human, transfer

VM = "/nodes/{node}/qemu/{vmid}"
COPIED = "transferred {done} of {total} ({pct:.2f}%)"
LOCK_WAIT_SECS = 1


class Moves(Base):
    """What copies or moves a guest's disks."""

    # ---- clone
    async def _qm_clone(self, v: Fields, user: str) -> str:
        source = self.find(v["node"], v["vmid"])
        if source.lock_holder or 0 < self.clone_limit <= self.cloning[source.vmid]:
            await self.pause(LOCK_WAIT_SECS)
            raise die(lock_timeout(source.vmid))
        self.clone_log = self._clone_steps(v)
        return str(await super()._qm_clone(v, user))

    def _clone_steps(self, v: Fields) -> Iterator[Step]:
        """Yield the log of `qm clone`, in the time the copy takes."""
        source, new = self.vm(v["vmid"]), self.vm(int(v["newid"]))
        full = v.get("full", not source.template)
        for key, volume, props in drives_of(source.config):
            sid, size = v.get("storage") or volume_ref(volume)[0], parse_size(props.get("size", "0")) or 0
            yield f"create {'full' if full else 'linked'} clone of drive {key} ({volume})"
            if size > self.room(sid, source.node)[2]:
                raise TaskError(f"clone failed: unable to write to storage '{sid}': No space left on device")
            if "cloudinit" in volume:
                # The copy gets its own: fakepve's would share the template's, and free it when it is destroyed.
                new.config[key] = self._qm_new_drive(new.vmid, key, f"{sid}:cloudinit", None)[0]
            elif full and not is_cdrom(volume, props):
                yield self._made_volume(sid, new.vmid, key)
                yield from transfer(size, COPIED)

    def _made_volume(self, sid: str, vmid: int, key: str) -> str:
        """Return the line that tells of the new volume, in the words of the storage's tool."""
        number = "".join(filter(str.isdigit, key)) or "0"
        if self.storages[sid].get("type") in ("lvm", "lvmthin"):
            return f'  Logical volume "vm-{vmid}-disk-{number}" created.'
        return f"Formatting '/mnt/pve/{sid}/images/{vmid}/vm-{vmid}-disk-{number}.raw', fmt=raw"

    # ---- resize, move
    async def _resize(self, v: Fields, user: str) -> str:
        vm, key, text = self.find(v["node"], v["vmid"]), v["disk"], str(v["size"])
        self._check_lock(vm)
        if key not in vm.config:
            raise die(f"disk '{key}' does not exist")
        volume, props = split_drive(vm.config[key])
        old = parse_size(props.get("size", "0")) or 0
        new = parse_size(text.lstrip("+")) + (old if text.startswith("+") else 0)
        if is_cdrom(volume, props):
            raise die("you can't resize a cdrom")
        if new < old:
            raise die("shrinking disks is not supported")

        async def body() -> None:
            sid, name = volume_ref(volume)
            if new - old > self.room(sid, vm.node)[2]:
                raise TaskError(f"unable to write to storage '{sid}': No space left on device")
            self._volumes(sid)[name] = {**self._volumes(sid)[name], "size": new}
            vm.config[key] = join_drive(volume, {**props, "size": format_size(new)})

        return str(await self.task(vm.node, "resize", vm.vmid, user, body, vm=vm))

    async def _move_disk(self, v: Fields, user: str) -> str:
        vm, key, sid = self.find(v["node"], v["vmid"]), v["disk"], v["storage"]
        self._check_lock(vm)
        if key not in vm.config:
            raise die(f"disk '{key}' does not exist")
        volume, props = split_drive(vm.config[key])
        if volume_ref(volume)[0] == sid and v.get("format") in (None, (self._qm_volume(volume) or {}).get("format")):
            raise die("you can't move to the same storage with same format")
        self._qm_image_store(sid, user)

        async def body() -> None:
            self.detach(vm, "scsi0", self.relocate(vm, key, sid, v.get("format")), bool(v.get("delete")))

        log = [f"create full clone of drive {key} ({volume})"]
        copy = transfer(parse_size(props.get("size", "0")) or 0, COPIED)
        return str(await self.task(vm.node, "qmmove", vm.vmid, user, body, vm=vm, log=[*log, *copy]))

    # ---- migration
    async def _migrate_check(self, v: Fields, _user: str) -> Fields:
        vm = self.find(v["node"], v["vmid"])
        local = [
            {"volid": volume, "drivename": key, "size": parse_size(props.get("size", "0")),
             "cdrom": int(is_cdrom(volume, props))}
            for key, volume, props in drives_of(vm.config)
            if not self.storages[volume_ref(volume)[0]].get("shared")
        ]  # fmt: skip
        nodes = [name for name in sorted(self.nodes) if name != v["node"] and self.nodes[name].get("online", True)]
        return {
            "running": int(vm.status == "running"), "local_disks": local, "local_resources": [],
            "mapped-resources": [], "allowed_nodes": nodes,
        }  # fmt: skip

    async def _migrate(self, v: Fields, user: str) -> str:
        vm, target = self.find(v["node"], v["vmid"]), v["target"]
        live, check = vm.status == "running", await self._migrate_check(v, user)
        if target == v["node"]:
            raise param_error(target="target is local node.")
        if target not in self.nodes:
            raise die(f"no such cluster node '{target}'")
        self.need_quorum()
        self._check_lock(vm)
        if live and not v.get("online"):
            raise die("can't migrate running VM without --online")

        async def body() -> str:
            vm.node = target
            for key, volume, _props in drives_of(vm.config):
                if not self.storages[volume_ref(volume)[0]].get("shared"):
                    self._qm_free(self.relocate(vm, key, v.get("targetstorage") or volume_ref(volume)[0]))
            return "migration finished successfully"

        steps = self._migration_steps(vm, target, live, check["local_disks"], bool(v.get("with-local-disks")))
        return str(await self.task(v["node"], "qmigrate", vm.vmid, user, body, vm=vm, log=steps))

    def _migration_steps(
        self, vm: Any, target: str, live: bool, disks: list[Fields], with_disks: bool
    ) -> Iterator[Step]:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        address = 11 + sorted(self.nodes).index(target)
        yield f"{now} starting migration of VM {vm.vmid} to node '{target}' (192.0.2.{address})"
        if not self.nodes[target].get("online", True):
            raise TaskError("migration aborted")
        if live and disks and not with_disks:
            raise TaskError(
                f"can't migrate local disk '{disks[0]['volid']}': can't live migrate attached local disks without "
                "with-local-disks option"
            )
        self._qm_lock(vm, "migrate")
        try:
            for disk in disks:
                yield f"{now} copying local disk image: {disk['volid']}"
                yield disk["size"] / COPY_RATE, ""
            ram = int(vm.config.get("memory", 512)) * MIB
            for i in range(1, 6 if live else 1):
                done = f"transferred {human(ram * i // 5)} of {human(ram)} VM-state, {human(RAM_RATE)}/s"
                yield ram / RAM_RATE / 5, f"{now} migration active, {done}"
        finally:
            self._qm_lock(vm, None)

    def _routes_moves(self) -> list[tuple[str, str, Callable[..., Awaitable[Any]]]]:
        return [
            ("PUT", VM + "/resize", self._resize), ("POST", VM + "/move_disk", self._move_disk),
            ("GET", VM + "/migrate", self._migrate_check), ("POST", VM + "/migrate", self._migrate),
        ]  # fmt: skip
