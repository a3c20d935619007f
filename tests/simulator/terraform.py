"""The real Terraform and the real provider with the product's own module, against the simulated cluster.

    terraform = Terraform(sim, skeleton, folder)      # a working directory and a state of its own
    terraform.give(server_input("web", 501, "10.20.0.91/22"))
    terraform.apply()                                 # plan, apply, and an empty plan after it
    terraform.close()
"""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.adapters.terraform import events
from app.adapters.terraform.binary import tool_environment
from app.adapters.terraform.events import Diagnostic
from app.adapters.terraform.skeleton import Skeleton, ensure_skeleton
from app.adapters.terraform.tfvars import Defaults, DiskInput, NicInput, ServerInput, render
from app.adapters.terraform.workdir import write_inputs
from app.errors import AppError
from tests.simulator.conftest import Sim

EMPTY, CHANGES = 0, 2
PLAN = "run.tfplan"


def skeleton_or_skip(folder: Path) -> Skeleton:
    """Return a skeleton below this folder; the test is skipped where there is no Terraform or no provider."""
    try:
        return ensure_skeleton(folder)
    except AppError as e:
        pytest.skip(f"no Terraform or no provider: {e.detail}")


class State(ThreadingHTTPServer):
    """Terraform's state in memory. `refuses`: what a write is answered; `holder`: the id of who has the lock."""

    kept = b""
    refuses = 0
    holder = ""
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _StateRequest)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()


class _StateRequest(BaseHTTPRequestHandler):
    server: State

    def do_GET(self) -> None:
        self._answer(200 if self.server.kept else 404, self.server.kept)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.refuses:
            self.server.kept = body
        self._answer(self.server.refuses or 200)

    def do_LOCK(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(423 if self.server.holder else 200, f'{{"ID":"{self.server.holder}"}}'.encode())

    def do_UNLOCK(self) -> None:
        self._answer(200)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Terraform:
    """A working directory with a state of its own; each apply is of a plan, as in the product."""

    def __init__(self, sim: Sim, skeleton: Skeleton, folder: Path) -> None:
        self.sim, self.folder, self.argv = sim, folder, skeleton.binary.argv
        self.state = State()
        shutil.copytree(skeleton.directory, folder, symlinks=True)
        self.env = tool_environment(folder.parent, skeleton.cli_config) | {
            "TF_HTTP_ADDRESS": self.state.address, "TF_HTTP_RETRY_MAX": "0", "SSL_CERT_FILE": sim.info["ca"],
            "PROXMOX_VE_API_TOKEN": f"{sim.info['token_id']}={sim.info['token_secret']}",
        }  # fmt: skip

    def close(self) -> None:
        self.state.close()

    def run(self, *args: str) -> tuple[int, str]:
        done = subprocess.run([*self.argv, *args, "-no-color"], cwd=self.folder, env=self.env, timeout=120,
                              capture_output=True, text=True, check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def plan(self) -> tuple[int, str]:
        return self.run("plan", "-input=false", "-detailed-exitcode", f"-out={PLAN}")

    def give(self, *servers: ServerInput, template: int = 9000, node: str = "pve1") -> None:
        inputs = render(self.sim.info["url"] + "/", Defaults(template, node), {one.name: one for one in servers})
        write_inputs(self.folder, inputs)

    def make(self) -> str:
        """Plan and apply; returns the plan."""
        code, plan = self.plan()
        assert code == CHANGES, plan
        code, out = self.run("apply", "-input=false", "-parallelism=40", PLAN)
        assert code == 0, out
        return plan

    def apply(self) -> str:
        """Plan and apply; the plan after it must be empty."""
        plan = self.make()
        code, again = self.plan()
        assert code == EMPTY, again
        return plan

    def errors(self, *args: str) -> list[Diagnostic]:
        """Run a command that must fail; returns its errors as the product reads them."""
        command, *rest = args
        code, out = self.run(command, "-json", "-input=false", *rest)
        found = [d for d in events.diagnostics(events.parse(out.encode())) if d.severity == "error"]
        assert code not in (EMPTY, CHANGES) and found, out[-2000:]
        return found

    def failing_plan(self) -> list[Diagnostic]:
        return self.errors("plan", f"-out={PLAN}")

    def failing_apply(self) -> list[Diagnostic]:
        return self.errors("apply", "-parallelism=40", PLAN)


def server_input(name: str, vmid: int, address: str, agent: bool = False) -> ServerInput:
    disks, nics = [DiskInput("scsi0", "nfs", 20)], [NicInput("vmbr0", None, address, "10.20.0.1")]
    return ServerInput(
        name=name, vmid=vmid, marker=f"managed-by:tpm/test/{vmid}/{name}", node="pve1", note="", tags=["tpm"],
        started=True, cores=2, memory_mib=2048, agent=agent, username="ubuntu", ssh_keys=[], clone_timeout=60,
        disks=disks, nics=nics,
    )  # fmt: skip
