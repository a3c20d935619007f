"""The real Terraform and the real provider against the simulated cluster, with the product's own module."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.adapters.terraform.binary import tool_environment
from app.adapters.terraform.skeleton import Skeleton, ensure_skeleton
from app.adapters.terraform.tfvars import Defaults, DiskInput, NicInput, ServerInput, render
from app.adapters.terraform.workdir import write_imports, write_inputs
from app.errors import AppError
from tests.simulator.conftest import Sim

EMPTY, CHANGES = 0, 2


class Backend(HTTPServer):
    """Keeps a state in memory; `refusal` answers what is saved, `bump` makes the next one read newer than any plan."""

    kept = b""
    refusal = 0
    bump = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _State(BaseHTTPRequestHandler):
    """Terraform's state in memory."""

    server: Backend

    def do_GET(self) -> None:
        kept = self.server.kept
        if self.server.bump and kept:
            state = json.loads(kept)
            kept = json.dumps(state | {"serial": state["serial"] + 1}).encode()
        self.send_response(200 if kept else 404)
        self.end_headers()
        self.wfile.write(kept)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.refusal:
            self.server.kept = body
        self.send_response(self.server.refusal or 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Terraform:
    """A working directory; each apply is of a plan, as in the product."""

    def __init__(self, sim: Sim, skeleton: Skeleton, folder: Path, backend: Backend) -> None:
        self.sim, self.folder, self.argv, self.backend = sim, folder, skeleton.binary.argv, backend
        shutil.copytree(skeleton.directory, folder, symlinks=True)
        self.env = tool_environment(folder.parent, skeleton.cli_config) | {
            "TF_HTTP_ADDRESS": backend.address, "TF_HTTP_RETRY_MAX": "0", "SSL_CERT_FILE": sim.info["ca"],
            "PROXMOX_VE_API_TOKEN": f"{sim.info['token_id']}={sim.info['token_secret']}",
        }  # fmt: skip

    def run(self, *args: str) -> tuple[int, str]:
        done = subprocess.run([*self.argv, *args, "-no-color"], cwd=self.folder, env=self.env, timeout=60,
                              capture_output=True, text=True, check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def plan(self) -> tuple[int, str]:
        return self.run("plan", "-input=false", "-detailed-exitcode", "-out=run.tfplan")

    def give(self, *servers: ServerInput, template: int = 9000, node: str = "pve1") -> None:
        inputs = render(self.sim.info["url"] + "/", Defaults(template, node), {one.name: one for one in servers})
        write_inputs(self.folder, inputs)

    def apply(self) -> str:
        """Plan and apply; the plan after it must be empty."""
        code, plan = self.plan()
        assert code == CHANGES, plan
        code, out = self.run("apply", "-input=false", "run.tfplan")
        assert code == 0, out
        code, again = self.plan()
        assert code == EMPTY, again
        return plan


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Skeleton:
    try:
        return ensure_skeleton(tmp_path_factory.mktemp("skeleton"))
    except AppError as e:
        pytest.skip(f"no Terraform or no provider: {e.detail}")


@pytest.fixture
def backend() -> Iterator[Backend]:
    """Where Terraform keeps its state."""
    server = Backend(("127.0.0.1", 0), _State)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def terraform(sim: Sim, skeleton: Skeleton, tmp_path: Path, backend: Backend) -> Terraform:
    sim.control("time", scale=0.01, clone_seconds=0.1)
    return Terraform(sim, skeleton, tmp_path / "work", backend)


def server_input(name: str, vmid: int, address: str, agent: bool = False) -> ServerInput:
    disks, nics = [DiskInput("scsi0", "nfs", 20)], [NicInput("vmbr0", None, address, "10.20.0.1")]
    return ServerInput(
        name=name, vmid=vmid, marker=f"managed-by:tpm/test/{vmid}/{name}", node="pve1", note="", tags=["tpm"],
        started=True, cores=2, memory_mib=2048, agent=agent, username="ubuntu", ssh_keys=[], clone_timeout=60,
        disks=disks, nics=nics,
    )  # fmt: skip


def test_servers_are_made_grown_and_destroyed_and_every_next_plan_is_empty(sim: Sim, terraform: Terraform) -> None:
    web, db = server_input("web", 501, "10.20.0.91/22", agent=True), server_input("db", 502, "10.20.0.92/22")
    terraform.give(web, db)
    assert "2 to add" in terraform.apply()
    outputs = json.loads(terraform.run("output", "-json", "servers")[1])
    assert ["10.20.0.91"] in outputs["web"]["ipv4"]
    assert sim.get("/nodes/pve1/qemu/502/status/current")["status"] == "running"
    terraform.give(replace(web, cores=4, memory_mib=4096, disks=[DiskInput("scsi0", "nfs", 30)]), db)
    assert "0 to add, 1 to change, 0 to destroy" in terraform.apply()
    config = sim.get("/nodes/pve1/qemu/501/config", current=1)
    assert (config["cores"], config["memory"]) == (4, "4096")
    assert "size=30G" in config["scsi0"]
    code, out = terraform.run("destroy", "-auto-approve", "-input=false")
    assert code == 0, out
    assert not {vm["vmid"] for vm in sim.control("vms")} & {501, 502}


def test_a_guest_that_is_there_is_imported_and_changed_in_place(sim: Sim, terraform: Terraform) -> None:
    vm = sim.clone(503, storage="nfs", description="managed-by:tpm/test/503/app")
    # Its own address already: outputs would lag behind a new one by a refresh.
    sim.put(f"{vm}/config", ipconfig0="ip=10.20.0.93/22,gw=10.20.0.1")
    sim.done(sim.post(f"{vm}/status/start"))
    terraform.give(
        replace(server_input("app", 503, "10.20.0.93/22", agent=True), disks=[DiskInput("scsi0", "nfs", 10)])
    )
    write_imports(terraform.folder, [("app", "pve1/503")])
    plan = terraform.apply()
    assert "1 to import, 0 to add, 1 to change, 0 to destroy" in plan
    config = sim.get(f"{vm}/config", current=1)
    assert (config["name"], config["cores"]) == ("app", 2)
    assert config["ipconfig0"] == "gw=10.20.0.1,ip=10.20.0.93/22"
