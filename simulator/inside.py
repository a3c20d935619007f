# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is inside a guest: its agent, its addresses, its consoles."""

import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from fakepve import FakeVm
from fakepve.routing import die

from simulator.base import BOOT_SECS, Base, Fields, answered

NICS_MAX = 32
LOOPBACK = {
    "name": "lo", "hardware-address": "00:00:00:00:00:00",
    "ip-addresses": [{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}],
}  # fmt: skip


class Inside(Base):
    """Guest agent and consoles."""

    async def _agent_call(self, match: Any, values: Fields) -> Any:
        """Answer as the guest's agent, once the guest has booted."""
        vm = self.find(values["node"], values["vmid"])
        if str(vm.config.get("agent", "0")).split(",")[0].split("=")[-1] != "1":
            raise die("No QEMU guest agent configured")
        booted = time.time() - (vm.started_at or 0) >= BOOT_SECS * self.time_scale
        vm.agent = {"interfaces": self.interfaces(vm)} if vm.status == "running" and booted and vm.vmid not in self.silent else None
        return await super()._agent_call(match, values)

    def interfaces(self, vm: FakeVm) -> list[Fields]:
        """Return the interfaces as the agent lists them: static addresses, or a made-up DHCP lease."""
        out: list[Fields] = [LOOPBACK]
        for n in range(NICS_MAX):
            mac = re.search(r"=((?:[0-9A-F]{2}:){5}[0-9A-F]{2})", str(vm.config.get(f"net{n}", "")), re.IGNORECASE)
            if not mac:
                continue
            found = re.findall(r"ip6?=([0-9a-fA-F.:]+/\d+)", str(vm.config.get(f"ipconfig{n}", "")))
            lease = f"172.{16 + n}.{vm.vmid >> 8 & 255}.{vm.vmid & 255}/16"
            addresses = [ipaddress.ip_interface(text) for text in found or [lease]]
            rows = [
                {"ip-address": str(one.ip), "ip-address-type": f"ipv{one.version}", "prefix": one.network.prefixlen}
                for one in addresses
            ]
            out.append({"name": f"eth{n}", "hardware-address": mac[1].lower(), "ip-addresses": rows})
        return out

    async def _vncproxy(self, request: web.Request) -> web.Response:
        return await self._console(request, "vncproxy", super()._vncproxy)

    async def _termproxy(self, request: web.Request) -> web.Response:
        return await self._console(request, "termproxy", super()._termproxy)

    async def _console(
        self, request: web.Request, kind: str, make: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.Response:
        """Answer a console ticket with a whole UPID: fakepve's has five fields, and clients that parse it fail."""
        data = json.loads((await make(request)).text or "")["data"]
        node, vmid = request.match_info["node"], request.match_info["vmid"]
        return answered({**data, "upid": self._upid(node, kind, vmid, data["user"])[0]})
