# SPDX-License-Identifier: AGPL-3.0-or-later
"""The control port: faults, other people's hands in the cluster, and views behind the API. For tests; loopback only.

POST /<op> with a JSON object. Times here are real seconds.
"""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from fakepve.qemu import drives_of, volume_ref
from fakepve.server import error

from simulator.base import GIB, Base, Fields
from simulator.state import facts_of

NO_FAULTS: Fields = {"latency": 0.0, "jitter": 0.0, "drop_rate": 0.0, "hang_rate": 0.0, "hang_secs": 120.0}
FOREIGN_GIB = 8
BEFORE, AFTER = "before", "after"


class Control(Base):
    """Operations of the control port; each is a method `op_<name>`."""

    faults: Fields
    first_pace: tuple[float, float | None, int]
    locked_here: set[int]
    opening: "asyncio.Task[None] | None" = None
    hold: Fields | None = None
    held: "tuple[Fields, asyncio.Event] | None" = None
    swallowed: "list[Fields]"

    def control_app(self) -> web.Application:
        """Return the application of the control port."""
        app = web.Application()
        app.router.add_post("/{op}", self._control)
        return app

    async def _control(self, request: web.Request) -> web.Response:
        handler = getattr(self, "op_" + request.match_info["op"], None)
        if handler is None:
            return web.json_response({"error": "no such operation"}, status=404)
        try:
            answer = await handler(await request.json() if request.body_exists else {})
        except (KeyError, TypeError, ValueError) as e:
            return web.json_response({"error": f"{type(e).__name__}: {e}"}, status=400)
        self.keep()
        return web.json_response(answer)

    def _guest(self, a: Fields) -> Any:
        vm = self.vm(int(a["vmid"]))
        if vm is None:
            raise KeyError(f"no guest {a['vmid']}")
        self.vms.changed.add(vm.vmid)
        return vm

    # ---- faults of the API
    async def op_fail(self, a: Fields) -> None:
        """Answer requests whose path ends with `suffix` with an error, `times` times or from now on.

        `error` names one of Proxmox's own in fakepve's catalogue, of a request or of the task it starts; else `status`
        and `message` are the answer.
        """
        own = {"error": a["error"]} if "error" in a else {"status": a.get("status", 500), "message": a.get("message", "injected")}
        self.fail(a["method"], a["suffix"], times=a.get("times"), **own)

    async def op_task_fails(self, a: Fields) -> None:
        """Let the next task of a `type` on a guest (of a clone: the new one) end in the error `message`, in its middle."""
        self.task_faults[(str(a["type"]), int(a["vmid"]))] = str(a["message"])

    async def op_agent(self, a: Fields) -> None:
        """Silence a guest's agent, or let it answer again."""
        (self.silent.discard if a["answers"] else self.silent.add)(int(a["vmid"]))

    async def op_network(self, a: Fields) -> None:
        """Delay, drop or hang requests: `latency`, `jitter`, `drop_rate`, `hang_rate`, `hang_secs`."""
        unknown = set(a) - set(NO_FAULTS)
        if unknown:
            raise ValueError(f"unknown: {sorted(unknown)}")
        self.faults.update({key: float(value) for key, value in a.items()})

    async def op_down(self, a: Fields) -> None:
        """Refuse connections on the API's port for `seconds`; connections that are open are cut."""
        await self.close_port()
        self.opening = asyncio.ensure_future(self._open_later(float(a["seconds"])))

    async def _open_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open_port()

    async def op_swallow(self, a: Fields) -> None:
        """Do what requests whose path ends with `suffix` ask for, and answer with an error all the same, `times` times."""
        status, message = int(a.get("status", 502)), str(a.get("message", "Bad Gateway"))
        self.swallowed.append({**a, "status": status, "message": message, "times": int(a.get("times", 1))})

    async def op_hold(self, a: Fields) -> None:
        """Keep the next request whose path ends with `suffix`, `before` it is done or `after` it, until it is let go."""
        if a["stage"] not in (BEFORE, AFTER):
            raise ValueError(f"no stage {a['stage']}")
        await self.op_let_go({})
        self.hold = {"method": a["method"], "suffix": a["suffix"], "stage": a["stage"]}

    async def op_held(self, _a: Fields) -> Fields | None:
        """Tell which request is kept now: its path and, for a clone, the new VMID."""
        return self.held[0] if self.held else None

    async def op_let_go(self, _a: Fields) -> None:
        """Keep nothing any more."""
        self.hold = None
        if self.held is not None:
            self.held[1].set()
            self.held = None

    async def _keep(self, request: web.Request, stage: str, body: bytes) -> None:
        if self.hold is None or self.hold["stage"] != stage or not _matches(request, self.hold):
            return
        self.hold, gate = None, asyncio.Event()
        found = re.search(rb"newid\D{1,4}(\d+)", body) or re.search(rb"/qemu/(\d+)", request.path.encode())
        self.held = ({"path": request.path, "vmid": int(found[1]) if found else None}, gate)
        await gate.wait()

    async def _answer(
        self, request: web.Request, handler: Any, generic: Any, path_node: str | None
    ) -> web.StreamResponse:
        body = self.requests[-1][2] if self.requests and self.hold else b""
        await self._keep(request, BEFORE, body)
        answer: web.StreamResponse = await super()._answer(request, handler, generic, path_node)
        await self._keep(request, AFTER, body)
        for rule in self.swallowed:
            if rule["times"] > 0 and _matches(request, rule):
                rule["times"] -= 1
                refusal: web.Response = error(rule["status"], rule["message"])
                return refusal
        return answer

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        faults = self.faults
        delay = faults["latency"] + random.uniform(0, faults["jitter"])  # noqa: S311 - nothing secret
        if delay:
            await asyncio.sleep(delay)
        if faults["drop_rate"] and random.random() < faults["drop_rate"]:  # noqa: S311
            if request.transport is not None:
                request.transport.close()
            raise ConnectionResetError("dropped by the control port")
        if faults["hang_rate"] and random.random() < faults["hang_rate"]:  # noqa: S311
            await asyncio.sleep(faults["hang_secs"])
        answer: web.StreamResponse = await super()._middleware(request, handler)
        return answer

    # ---- faults of the cluster
    async def op_node(self, a: Fields) -> None:
        """Take a node offline, or bring it back."""
        if a["node"] not in self.nodes:
            raise KeyError(f"no node {a['node']}")
        self.set_node_offline(a["node"], not a["online"])

    async def op_quorum(self, a: Fields) -> None:
        """Lose the quorum, or regain it."""
        self.quorate = bool(a["quorate"])

    async def op_fill(self, a: Fields) -> None:
        """Fill a storage with that many GiB of nothing."""
        self.storages[a["storage"]]["fill"] = int(a["gib"] * GIB)

    async def op_clone_limit(self, a: Fields) -> None:
        """Allow that many clones of one template at a time; 0 is no limit."""
        self.clone_limit = int(a["limit"])

    async def op_lock(self, a: Fields) -> None:
        """Lock a guest's config (`lock`: "backup") or its lock file (`file`); neither frees both."""
        vm = self._guest(a)
        self._qm_lock(vm, a.get("lock"))
        vm.lock_holder = "scenario" if a.get("file") else None
        (self.locked_here.add if a.get("lock") or a.get("file") else self.locked_here.discard)(vm.vmid)

    async def op_time(self, a: Fields) -> None:
        """Set how long things take: `scale` of every duration, `clone_seconds` of every clone (null: by size)."""
        if "scale" in a:
            self.time_scale = float(a["scale"])
        if "clone_seconds" in a:
            self.clone_seconds = None if a["clone_seconds"] is None else float(a["clone_seconds"])

    async def op_reset(self, _a: Fields) -> None:
        """Take back every fault, and time to the start's; guests stay as they are."""
        self.failures.clear()
        self.swallowed.clear()
        await self.op_let_go({})
        self.task_faults.clear()
        self.silent.clear()
        self.faults.update(NO_FAULTS)
        self.quorate = True
        self.time_scale, self.clone_seconds, self.clone_limit = self.first_pace
        for store in self.storages.values():
            store["fill"] = 0
        for name in self.nodes:
            self.set_node_offline(name, False)
        for vmid in list(self.locked_here):
            if self.vm(vmid) is not None:
                await self.op_lock({"vmid": vmid})
        self.locked_here.clear()
        if self.opening is not None:
            self.opening.cancel()
            self.opening = None
            await self.open_port()

    # ---- other people's hands
    async def op_rename(self, a: Fields) -> None:
        """Rename a guest."""
        vm = self._guest(a)
        vm.name = vm.config["name"] = str(a["name"])

    async def op_set(self, a: Fields) -> None:
        """Write config values as they are, behind every check; null removes one."""
        vm = self._guest(a)
        for key, value in a["config"].items():
            if value is None:
                vm.config.pop(key, None)
            else:
                vm.config[key] = value
        vm.name = vm.config.get("name") or f"VM {vm.vmid}"

    async def op_delete(self, a: Fields) -> None:
        """Remove a guest and its disks."""
        self.discard(self._guest(a))

    async def op_move(self, a: Fields) -> None:
        """Move a guest to another node at once, local disks with it, as if somebody had migrated it."""
        vm = self._guest(a)
        if a["node"] not in self.nodes:
            raise KeyError(f"no node {a['node']}")
        if a["node"] == vm.node:
            raise ValueError(f"guest {vm.vmid} is there")
        vm.node = a["node"]
        for key, volume, _props in drives_of(vm.config):
            if not self.storages[volume_ref(volume)[0]].get("shared"):
                self._qm_free(self.relocate(vm, key, volume_ref(volume)[0]))

    async def op_create_foreign(self, a: Fields) -> None:
        """Add a guest of somebody else's, or a template; `config` values are added to a small guest's."""
        vmid = int(a["vmid"])
        if self.vm(vmid) is not None:
            raise ValueError(f"VMID {vmid} is taken")
        if a["node"] not in self.nodes:
            raise KeyError(f"no node {a['node']}")
        sid = next(sid for sid, store in reversed(self.storages.items()) if "images" in store["content"])
        template = bool(a.get("template"))
        vm = self.seed(vmid, str(a["name"]), a["node"], a.get("storage", sid), FOREIGN_GIB, template, **a.get("config", {}))
        if a.get("running"):
            self.power_on(vm)

    # ---- views
    async def op_vms(self, _a: Fields) -> list[Fields]:
        """List every guest, with the name and config that a clone in the making does not show yet."""
        return [{"vmid": vm.vmid, **facts_of(vm)} for vm in self.vms]

    async def op_requests(self, _a: Fields) -> list[tuple[str, str, str]]:
        """List the requests seen, as (method, path, body), secrets replaced."""
        return [(method, path, body.decode(errors="replace")) for method, path, body in self.requests]

    async def op_digest(self, a: Fields) -> str:
        """Hash what must not change unnoticed: name, config, power, node and disks of a guest."""
        vm = self.vm(int(a["vmid"]))
        if vm is None:
            raise KeyError(f"no guest {a['vmid']}")
        disks = {volume: (self._qm_volume(volume) or {}).get("size") for _key, volume, _props in drives_of(vm.config)}
        facts = [vm.vmid, vm.name, vm.config, vm.pending, vm.status, vm.node, vm.lock, sorted(vm.snapshots), disks]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _matches(request: web.Request, rule: Fields) -> bool:
    return request.method == rule["method"] and request.path.rstrip("/").endswith(str(rule["suffix"]))
