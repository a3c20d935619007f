"""Templates: found in Proxmox, offered by people."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from app.models import Cluster, Guest, Preset, Server, Template
from app.services import inventory, templates
from app.services.uow import unit_of_work
from tests.fixtures.simulator import Simulator
from tests.integration import rows

Client = Any


@pytest.fixture
def operator(client_for: Callable[..., Client], make_user: Callable[..., Any]) -> Client:
    return client_for(make_user("operator"))


@pytest.fixture
def fresh(simulator: Simulator) -> Iterator[Callable[[int, str], None]]:
    def make(vmid: int, name: str) -> None:
        simulator.make_vm(vmid, name, scsi0="nfs:12", agent="1", boot="order=scsi0")
        simulator.wait("pve1", simulator.root("POST", f"/nodes/pve1/qemu/{vmid}/template"))

    yield make


def named(name: str) -> Template | None:
    with unit_of_work() as uow:
        return templates.by_name(uow.session, name)


def test_templates_are_read_with_their_disk_and_family(cluster: Cluster) -> None:
    found = named("rocky-9")
    assert found is not None and (found.family, found.username, found.agent) == ("rocky", "rocky", True)
    assert found.disk_gib >= 1 and found.disk_interface == "scsi0" and found.storage and not found.gone


def test_a_later_template_of_a_real_cluster_waits_to_be_offered(
    cluster: Cluster, operator: Client, fresh: Callable[[int, str], None]
) -> None:
    with unit_of_work() as uow:
        uow.session.get_one(Cluster, cluster.id).embedded = False
    fresh(9100, "fedora-42")
    inventory.poll(cluster.id, due_s=0)
    assert named("fedora-42") is None
    hidden = next(t for t in operator.get("/api/templates?all=1").json["items"] if t["name"] == "fedora-42")
    assert hidden["disk_gib"] == 12 and hidden["family"] == "fedora"
    assert operator.patch(f"/api/templates/{hidden['id']}", json={"offered": True}).status_code == 200
    assert named("fedora-42") is not None


def test_a_name_is_offered_once(cluster: Cluster, operator: Client, fresh: Callable[[int, str], None]) -> None:
    fresh(9101, "debian-12")
    inventory.poll(cluster.id, due_s=0)
    twins = [t for t in operator.get("/api/templates?all=1").json["items"] if t["name"] == "debian-12"]
    assert sorted((t["vmid"], t["offered"]) for t in twins) == [(9001, True), (9101, False)]
    other = next(t for t in twins if t["vmid"] == 9101)
    assert operator.patch(f"/api/templates/{other['id']}", json={"offered": True}).json["code"] == "template_name_taken"


def test_a_vanished_template_is_gone_and_comes_back(
    cluster: Cluster, simulator: Simulator, fresh: Callable[[int, str], None]
) -> None:
    fresh(9102, "arch-2025")
    inventory.poll(cluster.id, due_s=0)
    assert named("arch-2025") is not None
    simulator.control("delete", vmid=9102)
    inventory.poll(cluster.id, due_s=0)
    assert named("arch-2025") is None
    fresh(9102, "arch-2025")
    inventory.poll(cluster.id, due_s=0)
    assert named("arch-2025") is not None


def test_developers_see_only_what_is_offered(
    client_for: Callable[..., Client], make_user: Callable[..., Any], cluster: Cluster, operator: Client
) -> None:
    found = named("rocky-9")
    assert found is not None
    operator.patch(f"/api/templates/{found.id}", json={"offered": False})
    developer = client_for(make_user("developer"))
    assert "rocky-9" not in [t["name"] for t in developer.get("/api/templates?all=1").json["items"]]
    assert developer.patch(f"/api/templates/{found.id}", json={"offered": True}).status_code == 403


def test_presets_are_kept_by_operators(operator: Client, cluster: Cluster) -> None:
    made = operator.post(
        "/api/presets", json={"name": "huge", "cores": 32, "memory_mib": 65536, "disk_gib": 500, "position": 99}
    )
    assert made.status_code == 201
    assert (
        operator.post("/api/presets", json={"name": "huge", "cores": 1, "memory_mib": 512, "disk_gib": 5}).status_code
        == 422
    )
    assert operator.patch(f"/api/presets/{made.json['id']}", json={"cores": 16}).json["cores"] == 16
    assert operator.get("/api/presets").json["items"][-1]["name"] == "huge"
    assert operator.delete(f"/api/presets/{made.json['id']}").status_code == 200


def test_a_template_that_was_made_anew_tells_how_many_servers_come_from_the_old_image(cluster, simulator, client_for, make_user):
    inventory.poll(cluster.id, due_s=0)
    operator = make_user("operator", "olga")
    client = client_for(operator)
    with unit_of_work() as uow:
        template = uow.session.scalars(select(Template).where(Template.vmid == 9000)).one()
        assert template.image and template.image_at is not None
        image = template.image
    rows.workspace(operator, "web")
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(template_id=template.id, template_name=template.name, template_image=image))
    assert "older image" not in client.get("/templates").text
    simulator.control("set", vmid=9000, config={"meta": "creation-qemu=9.2.0,ctime=1893456000"})
    with unit_of_work() as uow:  # read configs again, as ten minutes later
        uow.session.execute(update(Guest).values(config_read_at=None))
    inventory.poll(cluster.id, due_s=0)
    page = client.get("/templates").text
    assert "1 server from an older image" in page and "2030-01-01" in page
    assert ">web<" in client.get("/servers?older=1").text
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(template_image=select(Template.image).where(Template.id == template.id).scalar_subquery()))
    assert ">web<" not in client.get("/servers?older=1").text


def test_a_preset_tells_how_many_servers_have_its_size(client_for, make_user):
    operator = make_user("operator", "olga")
    rows.workspace(operator, "web")
    with unit_of_work() as uow:
        uow.session.add(Preset(name="mine", cores=3, memory_mib=3072, disk_gib=30))
        uow.session.execute(update(Server).values(cores=3, memory_mib=3072, disks=[{"interface": "scsi0", "storage": "x", "size_gib": 30}]))
    page = client_for(operator).get("/templates").text
    assert re.search(r">mine<.*?30 GiB</td><td class=\"num\">1<", page, re.S)
