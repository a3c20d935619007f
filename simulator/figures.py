# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the cluster says about itself: nodes, guests, usage that moves with time."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from fakepve import FakeVm
from fakepve.routing import die
from fakepve.server import USER

from simulator.base import GIB, MIB, UNMADE, USAGE_OF_UNMADE, Base, Fields, answered, wave

RRD_STEP_SECS = {"hour": 60, "day": 1800, "week": 10800, "month": 43200, "year": 604800}
RRD_POINTS = 70


class Figures(Base):
    """Inventory and usage."""

    def _vm_usage(self, vm: FakeVm) -> Fields:
        data: Fields = super()._vm_usage(vm)
        if vm.lock in UNMADE:
            return data | USAGE_OF_UNMADE
        if vm.status == "running":
            now = time.time()
            secs, load = now - (vm.started_at or now), wave(vm.vmid, 600, now)
            busy = 0.0 if vm.qmpstatus == "paused" else 0.01 + 0.6 * load**3
            mem = int(data["maxmem"] * (0.25 + 0.4 * wave(vm.vmid + 7, 3600, now)))
            moved = int(secs * (20000 + vm.vmid % 97 * 900))
            data.update(
                cpu=busy, mem=mem, memhost=mem + 96 * MIB, netin=moved, netout=moved * 3 // 5,
                diskread=400 * MIB + moved // 5, diskwrite=100 * MIB + moved // 2,
            )  # fmt: skip
        return data

    def _vm_status(self, vm: FakeVm, listing: bool = False) -> Fields:
        data: Fields = super()._vm_status(vm, listing)
        if vm.lock in UNMADE:
            data["name"] = f"VM {vm.vmid}"
            data.pop("tags", None)
        return data

    def guest_item(self, vm: FakeVm, usage: Fields) -> Fields:
        """Return a guest as /cluster/resources lists it."""
        online = self.nodes.get(vm.node, {}).get("online", True)
        item = {
            "id": vm.guest, "type": "qemu", "node": vm.node, "name": vm.name, "vmid": vm.vmid,
            "status": vm.status if online else "unknown", "template": int(bool(vm.template)), **usage,
        }  # fmt: skip
        optional = {"tags": vm.config.get("tags"), "lock": vm.lock, "pool": vm.pool}
        if vm.lock in UNMADE:
            item["name"] = f"VM {vm.vmid}"
            optional.pop("tags")
        return item | {key: value for key, value in optional.items() if value}

    def node_item(self, name: str, usage: list[Fields] | None = None) -> Fields:
        """Return a node as /nodes and /cluster/resources list it."""
        return {
            "node": name, "id": "node/" + name, "type": "node", "level": "", **self.node_stats(name, usage),
            "status": "online" if self.nodes[name].get("online", True) else "offline",
        }  # fmt: skip

    def node_stats(self, name: str, usage: list[Fields] | None = None) -> Fields:
        """Return the usage of a node: its own base load and the guests running on it (`usage` when it is known)."""
        node, now = self.nodes[name], time.time()
        if not node.get("online", True):
            return {}
        if usage is None:
            usage = [self._vm_usage(vm) for vm in self.vms if vm.node == name and vm.status == "running"]
        cpus, memory = node.get("cpus", 8), node.get("memory_gib", 32) * GIB
        cpu = sum(one["cpu"] * one["maxcpu"] for one in usage) / cpus + 0.01 + 0.04 * wave(len(name), 300, now)
        return {
            "cpu": min(cpu, 1.0), "maxcpu": cpus, "mem": min(2 * GIB + sum(one["mem"] for one in usage), memory),
            "maxmem": memory, "disk": 6 * GIB, "maxdisk": 96 * GIB, "uptime": int(now - self.started),
        }  # fmt: skip

    async def _nodes(self, _request: web.Request) -> web.Response:
        return answered([self.node_item(name) for name in sorted(self.nodes)])

    async def _resources(self, request: web.Request) -> web.Response:
        kind, user = request.query.get("type"), request[USER]
        usages = {vm.vmid: self._vm_usage(vm) for vm in self.vms} if kind in (None, "vm", "node") else {}
        data: list[Fields] = []
        if kind in (None, "vm"):
            seen = [vm for vm in self.vms if self.allowed(user, f"/vms/{vm.vmid}", "VM.Audit")]
            data += [self.guest_item(vm, usages[vm.vmid]) for vm in seen]
        if kind in (None, "node"):
            running: dict[str, list[Fields]] = {name: [] for name in self.nodes}
            for vm in self.vms:
                if vm.status == "running":
                    running[vm.node].append(usages[vm.vmid])
            data += [self.node_item(name, running[name]) for name in sorted(self.nodes)]
        if kind in (None, "storage"):
            items = (self._storage_resource(node, sid) for node in sorted(self.nodes) for sid in self.storages)
            data += [item for item in items if item]
        return answered(data)

    async def _rrd(self, v: Fields, _user: str) -> list[Fields]:
        """Return the figures of a guest or a node up to now."""
        step = RRD_STEP_SECS[v.get("timeframe", "hour")]
        vm = self.find(v["node"], v["vmid"]) if "vmid" in v else None
        seed = vm.vmid if vm else len(v["node"])
        base = self._vm_usage(vm) if vm else self.node_stats(v["node"])
        top, last = base.get("maxmem", 0), int(time.time()) // step * step
        out: list[Fields] = []
        for at in range(last - (RRD_POINTS - 1) * step, last + step, step):
            load, used = wave(seed, 600, at), top * (0.25 + 0.4 * wave(seed + 7, 3600, at))
            figures = {
                "cpu": 0.01 + 0.6 * load**3, "maxcpu": base.get("maxcpu"), "netin": 20000 * load, "netout": 12000 * load,
            }  # fmt: skip
            if vm is None:
                figures |= {"memused": used, "memtotal": top, "loadavg": 8 * load, "iowait": 0.01 * load}
            elif vm.status == "running" and at >= (vm.started_at or at):
                figures |= {"mem": used, "maxmem": top, "diskread": 4000 * load, "diskwrite": 9000 * load}
                figures["maxdisk"] = base.get("maxdisk")
            else:
                figures = {}
            out.append({"time": at, **figures})
        return out

    async def _node_status(self, v: Fields, _user: str) -> Fields:
        use, name = self.node_stats(v["node"]), v["node"]
        load = use["cpu"] * use["maxcpu"]
        free = use["maxdisk"] - use["disk"]
        answer: Fields = self._complete(
            "/nodes/{node}/status",
            {
                "cpu": use["cpu"],
                "uptime": use["uptime"],
                "loadavg": [f"{load * share:.2f}" for share in (1, 0.9, 0.8)],
                "memory": {"total": use["maxmem"], "used": use["mem"], "free": use["maxmem"] - use["mem"]},
                "rootfs": {"total": use["maxdisk"], "used": use["disk"], "free": free, "avail": free},
                "cpuinfo": {
                    "cpus": use["maxcpu"], "cores": use["maxcpu"] // 2, "sockets": 1, "model": "Demo CPU", "mhz": "2400",
                },
                "pveversion": f"pve-manager/{self.version}/demo",
            },
            node=name,
        )  # fmt: skip
        return answer

    async def _networks(self, v: Fields, _user: str) -> list[Fields]:
        kinds = {"any_bridge": ("bridge", "OVSBridge"), "any_local_bridge": ("bridge", "OVSBridge")}
        wanted, number = v.get("type"), sorted(self.nodes).index(v["node"]) + 11
        out = []
        for priority, network in enumerate(self.spec["networks"], 3):
            if wanted is None or network["type"] in kinds.get(wanted, (wanted,)):
                own = {"cidr": network["cidr"].format(n=number)} if "cidr" in network else {}
                fixed = {"active": 1, "autostart": 1, "method": "manual", "method6": "manual", "families": ["inet"]}
                out.append({**fixed, "priority": priority, **network, **own})
        return out

    async def _ha(self, v: Fields, _user: str) -> list[Fields]:
        if "sid" in v:  # no guest of the demo cluster is managed by HA
            raise die(f"no such resource '{v['sid']}'")
        return []

    def _routes_figures(self) -> list[tuple[str, str, Callable[..., Awaitable[Any]]]]:
        node, vm = "/nodes/{node}", "/nodes/{node}/qemu/{vmid}"
        return [
            ("GET", vm + "/rrddata", self._rrd), ("GET", node + "/rrddata", self._rrd),
            ("GET", node + "/status", self._node_status), ("GET", node + "/network", self._networks),
            ("GET", "/cluster/ha/resources", self._ha), ("GET", "/cluster/ha/resources/{sid}", self._ha),
        ]  # fmt: skip
