"""The product's module in good times: servers are made, grown, destroyed, imported."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.terraform.skeleton import Skeleton
from app.adapters.terraform.tfvars import DiskInput
from app.adapters.terraform.workdir import write_imports
from tests.simulator.conftest import Sim
from tests.simulator.terraform import EMPTY, Terraform, server_input, skeleton_or_skip


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Skeleton:
    return skeleton_or_skip(tmp_path_factory.mktemp("skeleton"))


@pytest.fixture
def terraform(sim: Sim, skeleton: Skeleton, tmp_path: Path) -> Iterator[Terraform]:
    sim.control("time", scale=0.01, clone_seconds=0.1)
    made = Terraform(sim, skeleton, tmp_path / "work")
    yield made
    made.close()


def test_servers_are_made_grown_and_destroyed_and_every_next_plan_is_empty(sim: Sim, terraform: Terraform) -> None:
    web, db = server_input("web", 501, "10.20.0.91/22", agent=True), server_input("db", 502, "10.20.0.92/22")
    terraform.give(web, db)
    assert "2 to add" in terraform.apply()
    outputs = json.loads(terraform.run("output", "-json", "servers")[1])
    assert ["10.20.0.91"] in outputs["web"]["ipv4"]
    assert sim.get("/nodes/pve1/qemu/502/status/current")["status"] == "running"
    terraform.give(replace(web, cores=4, memory_mib=4096, disks=[DiskInput("scsi0", "nfs", 30)]), db)
    assert "0 to add, 1 to change, 0 to destroy" in terraform.apply()
    terraform.give(replace(web, cores=4, memory_mib=4096, disks=[DiskInput("scsi0", "nfs", 30)], clone_timeout=7200), replace(db, clone_timeout=7200))
    assert terraform.plan()[0] == EMPTY, "another time limit for clones is no change of a server that is there"
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
