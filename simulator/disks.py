# SPDX-License-Identifier: AGPL-3.0-or-later
"""Volumes: named, allocated, counted and freed as Proxmox does."""

import re
from typing import Any

from fakepve import FakeVm
from fakepve.lxc import parse_size
from fakepve.qemu import (
    DRIVE_KEY,
    drives_of,
    is_cdrom,
    join_drive,
    split_drive,
    volume_ref,
)
from fakepve.routing import die

from simulator.base import MIB, Base, Fields


class Disks(Base):
    """Storages and the disks of guests."""

    # ---- what a storage says about itself
    def _options_of(self, store: Fields) -> Fields:
        options = super()._options_of(store)
        return {key: value for key, value in options.items() if key not in ("total_gib", "fill")}

    def _space(self, _store: Fields) -> tuple[int, int, int]:
        return 0, 0, 0  # there is no node to ask for: _status_item fills the figures in

    def _status_item(self, name: str, node: str, formats: bool = False) -> Fields:
        item: Fields = super()._status_item(name, node, formats)
        if item["active"]:
            item.update(zip(("total", "used", "avail"), self.room(name, node), strict=True))
        return item

    def _storage_resource(self, node: str, name: str) -> Fields | None:
        item: Fields | None = super()._storage_resource(node, name)
        if item:
            item["maxdisk"], item["disk"], _free = self.room(name, node)
        return item

    async def _content_list(self, v: Fields, user: str) -> list[Fields]:
        here, items = self._volumes(v["storage"]), await super()._content_list(v, user)
        return [
            item for item in items if here.get(item["volid"].partition(":")[2], {}).get("node") in (None, v["node"])
        ]

    # ---- volumes
    def _qm_free_name(self, sid: str, vmid: int, fmt: str) -> str:
        numbers = re.compile(rf"(?:^|/)(?:vm|base)-{vmid}-disk-(\d+)")
        taken = {int(found[1]) for name in self._volumes(sid) if (found := numbers.search(name))}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        return f"vm-{vmid}-disk-{number}" + (f".{fmt}" if self.is_file(sid) else "")

    def _qm_alloc(
        self, sid: str, vmid: int, fmt: str | None, size: int, linked_from: str | None = None
    ) -> tuple[str, str]:
        node = self.vm(vmid).node
        self._store(sid)
        if size > self.room(sid, node)[2]:
            raise die(f"unable to write to storage '{sid}': No space left on device")
        volid, fmt_made = super()._qm_alloc(sid, vmid, fmt, size, linked_from)
        self._volumes(sid)[volume_ref(volid)[1]]["node"] = self.home_of(sid, node)
        return volid, fmt_made

    def _parse_volname(self, store: Fields, volname: str) -> tuple[str, int | None, str]:
        # A linked clone on files is named after its base: 9000/base-9000-disk-0.qcow2/301/vm-301-disk-0.qcow2.
        parsed: tuple[str, int | None, str] = super()._parse_volname(
            store, re.sub(r"^\d+/base-[^/]+/(?=\d+/)", "", volname)
        )
        return parsed

    def _qm_new_drive(self, vmid: int, key: str, value: str, default: str | None) -> tuple[str, list[str]]:
        """As fakepve's, but a cloud-init drive gets Proxmox's name for it: vm-<id>-cloudinit."""
        volume, props = split_drive(value)
        if not volume.endswith(":cloudinit"):
            made: tuple[str, list[str]] = super()._qm_new_drive(vmid, key, value, default)
            return made
        sid = volume_ref(volume)[0]
        file = self.is_file(sid)
        name = f"{vmid}/vm-{vmid}-cloudinit.qcow2" if file else f"vm-{vmid}-cloudinit"
        if name not in self._volumes(sid):
            drawn = volume_ref(self._qm_alloc(sid, vmid, "qcow2" if file else "raw", 4 * MIB)[0])[1]
            self._volumes(sid)[name] = self._volumes(sid).pop(drawn)
        props.pop("format", None)
        return join_drive(f"{sid}:{name}", {**props, "media": "cdrom", "size": "4M"}), [f"{sid}:{name}"]

    def relocate(self, vm: FakeVm, key: str, sid: str, fmt: str | None = None) -> str:
        """Give a drive a new volume on a storage; returns the old volume id."""
        volume, props = split_drive(vm.config[key])
        if "cloudinit" in volume:
            vm.config[key] = self._qm_new_drive(vm.vmid, key, f"{sid}:cloudinit", None)[0]
        else:
            fmt = fmt or ("qcow2" if self.is_file(sid) else "raw")
            fresh = self._qm_alloc(sid, vm.vmid, fmt, parse_size(props.get("size", "0")) or 0)[0]
            vm.config[key] = join_drive(fresh, props)
        return str(volume)

    # ---- what becomes of them
    def discard(self, vm: FakeVm) -> None:
        """Remove a guest and all its volumes without a task."""
        for store in self.storages.values():
            volumes = store["volumes"]
            own = [
                name for name, one in volumes.items() if one.get("vmid") == vm.vmid and one.get("content") == "images"
            ]
            for name in own:
                del volumes[name]
        if self.vm(vm.vmid) is vm:
            self.vms.remove(vm)
        self._pool_leave(vm.vmid)

    def detach(self, vm: FakeVm, key: str, old: Any, free: bool = False) -> None:
        """Do what follows the removal of a config key: a disk becomes unusedN; unusedN and cloud-init drives go."""
        volume, props = split_drive(str(old))
        if key.startswith("unused") or DRIVE_KEY.match(key):
            if free or key.startswith("unused") or "cloudinit" in volume:
                self._qm_free(volume)
            elif not is_cdrom(volume, props):
                vm.config[next(f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)] = volume

    def disk_bytes(self, config: Fields) -> int:
        """Return the size of all disks of a config."""
        return sum(parse_size(props.get("size", "0")) or 0 for _key, _volume, props in drives_of(config))
