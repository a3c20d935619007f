# SPDX-License-Identifier: AGPL-3.0-or-later
"""A guest's config: what a write does at once, what waits for the next boot, and how it is read."""

import functools
import hashlib
import json
import re

from aiohttp import web
from fakepve import FakeVm, PveError, schema
from fakepve.qemu import DRIVE_KEY, with_mac
from fakepve.routing import die, split_list

from simulator.base import UNMADE, Base, Fields, answered

# hotplug=network,disk,usb (Proxmox's default) and the options of a live cgroup; everything else waits for a boot.
HOT = re.compile(r"^(?:(?:net|scsi|virtio|usb|unused)\d+|balloon|shares|cpulimit|cpuunits|description|tags|name)$")
ANY = re.compile("")
NOT_CONFIG = ("force", "background_delay", "revert", "node", "vmid")


@functools.cache
def integer_key(key: str) -> bool:
    """True for a config key that the API's schema types as integer or boolean: Proxmox answers a JSON number."""
    props = schema.load().paths["/nodes/{node}/qemu/{vmid}/config"]["PUT"]["parameters"]["properties"]
    return props.get(key, {}).get("type") in ("integer", "boolean")


def typed(config: Fields) -> Fields:
    """Return the config with numbers typed as Proxmox sends them; `memory` is a string there."""
    out: Fields = {}
    for key, value in config.items():
        if integer_key(key) and re.fullmatch(r"-?\d+", str(value)):
            out[key] = int(value)
        elif value is not None:
            out[key] = str(value) if key == "memory" else value
    return out


class Config(Base):
    """Reading and writing a guest's config."""

    def flush(self, vm: FakeVm, only: re.Pattern[str] = ANY) -> None:
        """Apply pending changes, those whose key matches."""
        for key in [key for key in vm.pending if only.match(key)]:
            value, old = vm.pending.pop(key), vm.config.pop(key, None)
            if value is not None:
                vm.config[key] = value
            elif old is not None:
                self.detach(vm, key, old)

    def _config_priv(self, key: str) -> str:
        if key.startswith(("ci", "ipconfig")) or key in ("sshkeys", "nameserver", "searchdomain"):
            return "VM.Config.Cloudinit"
        return str(super()._config_priv(key))

    async def _apply_config(self, vm: FakeVm, user: str, p: Fields) -> None:
        """Write a config as Proxmox does: disks allocated, NICs given a MAC, hotplug at once, the rest pending."""
        made: list[str] = []
        free = str(p.get("force", "0")) in ("1", "true")
        p = {key: value for key, value in p.items() if key not in NOT_CONFIG}
        self._check_lock(vm)
        removed = {key: vm.config[key] for key in split_list(p.get("delete")) if key in vm.config}
        try:
            for key in list(p):
                p[key] = self._written(vm, user, key, p[key], made)
            await super()._apply_config(vm, user, p)
        except PveError:
            for volid in made:
                self._qm_free(volid)
            raise
        for key, old in removed.items():
            if key not in vm.config and key not in vm.pending:
                self.detach(vm, key, old, free)
        for key in [k for k, new in vm.pending.items() if new is not None and str(vm.config.get(k)) == str(new)]:
            del vm.pending[key]
        self.flush(vm, HOT)
        self.keep(vm.vmid)

    def _written(self, vm: FakeVm, user: str, key: str, value: str, made: list[str]) -> str:
        """Return the value as it is stored; volumes that this allocates are added to `made`."""
        if re.fullmatch(r"net\d+", key):
            bridge = (re.findall(r"bridge=([^,]+)", value) or [""])[0]
            self.require(user, "/sdn/zones/localnet/" + bridge, "SDN.Use")
            return str(with_mac(value))
        if key == "tags":
            return ";".join(sorted(set(re.split(r"[;, ]+", str(value).lower())) - {""}))
        if DRIVE_KEY.match(key):
            self._qm_check_drive(user, vm.vmid, None, key, value, None)
            stored, new = self._qm_new_drive(vm.vmid, key, value, None)
            made += new
            return str(stored)
        return value

    # ---- reading
    async def _config_get(self, request: web.Request) -> web.Response:
        """Answer the config with what is pending merged in, which is Proxmox's default; current=1 is without."""
        vm, query = self._vm(request, "VM.Audit"), request.query
        if vm.lock in UNMADE:
            only = {"lock": vm.lock}
            return answered(
                {**only, "digest": hashlib.sha1(json.dumps(only).encode(), usedforsecurity=False).hexdigest()}
            )
        snapshot = query.get("snapshot")
        if snapshot and snapshot not in vm.snapshots:
            raise die(f"snapshot '{snapshot}' does not exist")
        config = dict(vm.snapshots[snapshot] if snapshot else vm.config)
        if not snapshot and query.get("current") not in ("1", "true"):
            config.update(vm.pending)
        return answered({**typed(config), "digest": vm.digest()})

    async def _pending(self, request: web.Request) -> web.Response:
        vm = self._vm(request, "VM.Audit")
        if vm.lock in UNMADE:
            return answered([{"key": "lock", "value": vm.lock}])
        answer: web.Response = await super()._pending(request)
        return answer
