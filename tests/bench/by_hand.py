"""The same work by hand: Terraform's own commands in a folder with the product's module, inputs, binary and provider mirror.

    hand = Hand(place, product, inputs)      # inputs: what the product rendered for one server
    folder = hand.folder(1)
    seconds = hand.reviewed(folder)          # init, plan -out, show -json, apply of that plan
    hand.clear()

Only the backend differs: `http` is overridden by `local`, as a person without our state server would have it.
"""

import copy
import itertools
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from app.adapters.terraform.binary import find_terraform, tool_environment
from app.adapters.terraform.skeleton import MODULE
from app.config import load_settings
from tests.bench.product import Product

PLAN = "run.tfplan"
FIRST_VMID = 800_000
NODES = ("pve1", "pve2", "pve3")


class Hand:
    """Makes folders and calls Terraform in them."""

    def __init__(self, place: Path, product: Product, inputs: dict[str, Any]) -> None:
        self.place, self.product, self._inputs = place, product, inputs
        settings = load_settings(product.stack.env)
        self.argv = find_terraform(settings).argv
        [self._cli_config] = (product.data_dir / "terraform").glob("*/cli.tfrc")
        simulator = product.info["simulator"]
        secret = Path(simulator["token_file"]).read_text(encoding="utf-8").strip()
        self._access = {"PROXMOX_VE_API_TOKEN": f"{simulator['token_id']}={secret}", "SSL_CERT_FILE": simulator["ca_file"]}
        self._numbers = itertools.count()
        self._made: list[str] = []
        self._folders: list[Path] = []

    def folder(self, servers: int, inputs: dict[str, Any] | None = None) -> Path:
        """Make a folder that describes so many new servers; `inputs` in place of the usual ones."""
        folder = self.place / f"hand-{next(self._numbers)}"
        folder.mkdir(parents=True)
        for source in MODULE.glob("*.tf"):
            shutil.copyfile(source, folder / source.name)
        (folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
        (folder / "terraform.tfvars.json").write_text(json.dumps(self._described(inputs or self._inputs, servers)), encoding="utf-8")
        self._folders.append(folder)
        return folder

    def _described(self, inputs: dict[str, Any], servers: int) -> dict[str, Any]:
        [pattern] = inputs["servers"].values()
        described: dict[str, Any] = {**inputs, "servers": {}}
        for _ in range(servers):
            number = next(self._numbers)
            name, server = f"hand-{number}", copy.deepcopy(pattern)
            server |= {"name": name, "vmid": FIRST_VMID + number, "marker": f"by hand/{name}", "node": NODES[number % len(NODES)]}
            server["nics"][0]["address"] = f"10.{60 + number // 60_000}.{number // 250 % 250}.{number % 250 + 2}/8"
            described["servers"][name] = server
            self._made.append(name)
        return described

    def call(self, folder: Path, *arguments: str) -> float:
        """Run one command; returns its seconds. Raises RuntimeError with the end of its output."""
        began = time.monotonic()
        with (folder / "out.log").open("ab") as out:
            child = subprocess.Popen(
                [*self.argv, *arguments], cwd=folder, env=tool_environment(folder, self._cli_config) | self._access,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                code = child.wait()
            except BaseException:
                child.send_signal(signal.SIGINT)  # it ends its provider too
                child.wait(30)
                raise
        if code:
            text = (folder / "out.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"terraform {arguments[0]} by hand ended with {code}:\n{text[-1500:]}")
        return time.monotonic() - began

    def init(self, folder: Path) -> float:
        return self.call(folder, "init", "-input=false", "-no-color")

    def plan(self, folder: Path) -> float:
        return self.call(folder, "plan", "-input=false", "-no-color", f"-out={PLAN}")

    def show(self, folder: Path) -> float:
        return self.call(folder, "show", "-json", PLAN)

    def apply(self, folder: Path, parallelism: int = 10) -> float:
        return self.call(folder, "apply", "-input=false", "-no-color", f"-parallelism={parallelism}", PLAN)

    def reviewed(self, folder: Path) -> float:
        """What somebody does who looks at the plan first; returns the seconds of all four commands."""
        began = time.monotonic()
        self.init(folder)
        self.plan(folder)
        self.show(folder)
        self.apply(folder)
        return time.monotonic() - began

    def unreviewed(self, folder: Path) -> float:
        """What somebody does who trusts himself: init and apply without a look."""
        began = time.monotonic()
        self.init(folder)
        self.call(folder, "apply", "-input=false", "-no-color", "-auto-approve")
        return time.monotonic() - began

    def clear(self) -> None:
        """Remove the guests and folders made so far."""
        self.product.remove(self._made)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._made, self._folders = [], []

    def check_running(self) -> None:
        """Make sure that what was made by hand runs too."""
        self.product.check_running(self._made)
