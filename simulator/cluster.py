# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulated cluster: fakepve with durations, logs, sizes, figures, hotplug, backups, moves, state and faults."""

import asyncio
import collections
import json
import secrets
import signal
import ssl
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from fakepve import FakeVm
from fakepve.certs import make_cert
from fakepve.server import error

from simulator.backup import Backups
from simulator.base import Base, Fields, Guests, Volumes, write_private
from simulator.config import Config
from simulator.control import NO_FAULTS, Control
from simulator.disks import Disks
from simulator.figures import Figures
from simulator.inside import Inside
from simulator.moves import Moves
from simulator.snapshots import Snapshots
from simulator.spec import ROLE, Seeds
from simulator.state import State
from simulator.tasks import Tasks

ROOT = "root@pam"
UP_SINCE_DAYS = 10
CERT_RENEWED_AFTER_DAYS = 20  # fakepve makes it for 30
# A request that is being answered has this long when the process is told to stop.
LAST_REQUESTS_S = 0.1


class Simulator(Control, Seeds, State, Snapshots, Tasks, Backups, Moves, Config, Disks, Figures, Inside, Base):
    """The demo cluster."""

    def __init__(self, spec: Fields, folder: Path, host: str, port: int) -> None:
        self.keys_file = folder / "connection.json"
        old = json.loads(self.keys_file.read_text(encoding="utf-8")) if self.keys_file.exists() else {}
        password = spec.get("password") or old.get("password") or secrets.token_urlsafe(12)
        super().__init__(ROOT, password, host, port)
        self.port: int = port
        self.spec, self.folder, self.started = spec, folder, time.time() - UP_SINCE_DAYS * 86400
        self.vms, self.cluster_name = Guests(), spec["cluster"]
        self.cloning, self.aborted, self.running_tasks = collections.Counter(), set(), set()
        self.faults, self.locked_here, self.swallowed = dict(NO_FAULTS), set(), []
        self.task_faults, self.silent = {}, set()
        self.set_pace(1.0, None, 0)
        self.nodes = {node["name"]: {"online": True, **node} for node in spec["nodes"]}
        self.storages = {
            sid: {"active": 1, "files": set(), "volumes": Volumes(), **store} for sid, store in spec["storages"].items()
        }
        self.pools = {spec["pool"]: set()}
        self.token_id = f"{spec['user']}!{spec['token']}"
        secret = spec.get("secret") or old.get("token_secret") or _token_secret()
        self.apitokens = {self.token_id: secret}
        for path, privileges in ROLE.items():
            self.grant(spec["user"], path, *privileges)
        if not self.load():
            self.seed_cluster()
            self.save()

    def set_pace(self, time_scale: float, clone_seconds: float | None, clone_limit: int) -> None:
        """Set how long things take; a reset of the control port comes back to it."""
        self.first_pace = (time_scale, clone_seconds, clone_limit)
        self.time_scale, self.clone_seconds, self.clone_limit = self.first_pace

    # ---- every request
    async def _answer(
        self, request: web.Request, handler: Any, generic: Any, path_node: str | None
    ) -> web.StreamResponse:
        if path_node and path_node not in self.nodes:
            refusal: web.Response = error(
                500,
                f"hostname lookup '{path_node}' failed - failed to get address info for: {path_node}: "
                "Name or service not known",
            )
            return refusal
        try:
            answer: web.StreamResponse = await super()._answer(request, handler, generic, path_node)
        finally:
            # Before the answer leaves: what somebody was told is on disk.
            if request.method not in ("GET", "HEAD"):
                vmid = request.match_info.get("vmid") or (generic.params.get("vmid") if generic else None)
                self.keep(int(vmid) if vmid and str(vmid).isdigit() else None)
        return answer

    def _qm_lock(self, vm: FakeVm, lock: str | None) -> None:
        super()._qm_lock(vm, lock)
        self.vms.changed.add(vm.vmid)

    def _register_stateful(self, router: web.UrlDispatcher, prefixes: tuple[str, ...]) -> None:
        """Take every path also with a slash at its end, as Proxmox does: the provider deletes guests that way."""
        super()._register_stateful(router, prefixes)
        for route in [route for route in router.routes() if route.method != "HEAD"]:
            if route.resource:
                router.add_route(route.method, route.resource.canonical + "/", route.handler)

    # ---- the port
    async def start(self, certfile: str, keyfile: str) -> None:
        """Listen with this certificate and key."""
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certfile, keyfile)
        self.runner = web.AppRunner(self._build_app(), shutdown_timeout=LAST_REQUESTS_S)
        await self.runner.setup()
        await self.open_port()
        if not self.port:
            self.port = self.runner.addresses[0][1]

    async def open_port(self) -> None:
        """Listen, if this does not already."""
        if not self.runner.sites:
            await web.TCPSite(self.runner, self.host, self.port, ssl_context=self._tls, reuse_address=True).start()

    async def close_port(self) -> None:
        """Stop listening and cut the connections."""
        for site in list(self.runner.sites):
            await site.stop()
        for connection in self.runner.server.connections if self.runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def serve(self, control_port: int | None) -> None:
        """Run until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        cert, key = self.folder / "fakepve.crt", self.folder / "fakepve.key"
        if not (cert.exists() and key.exists()) or _days_old(cert) > CERT_RENEWED_AFTER_DAYS:
            make_cert(str(self.folder), hosts=(self.host,))
        await self.start(str(cert), str(key))
        control = web.AppRunner(self.control_app(), shutdown_timeout=LAST_REQUESTS_S)
        await control.setup()
        if control_port is not None:
            await web.TCPSite(control, "127.0.0.1", control_port).start()
        self._write_connection(cert, f"http://127.0.0.1:{control.addresses[0][1]}" if control.addresses else None)
        print("ready", self.url, flush=True)
        await stop.wait()
        # First the state: what the last requests still change is in the journal.
        self.save()
        await asyncio.gather(control.cleanup(), self.stop())

    def _write_connection(self, cert: Path, control: str | None) -> None:
        secret = self.apitokens[self.token_id]
        write_private(self.folder / "token", secret + "\n")
        facts = {
            "url": self.url, "ca": str(cert.resolve()), "user": ROOT, "password": self.password,
            "token_id": self.token_id, "token_secret": secret, "control": control,
        }  # fmt: skip
        write_private(self.keys_file, json.dumps(facts))


def _days_old(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / 86400


def _token_secret() -> str:
    return "-".join(secrets.token_hex(count) for count in (4, 2, 2, 2, 6))
