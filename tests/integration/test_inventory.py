"""The inventory: one call a poll, only what changed is written, and servers follow what Proxmox shows."""

from collections.abc import Callable
from typing import Any

import redis
from sqlalchemy import select, text

from app.domain.server_status import ServerStatus
from app.models import Bridge, Cluster, Guest, Node, Server, Storage
from app.services import clock, inventory
from app.services.uow import unit_of_work
from app.streaming import events
from tests.fixtures.simulator import Simulator


def rows(model: Any) -> dict[Any, Any]:
    with unit_of_work() as uow:
        return {r.id: r for r in uow.session.scalars(select(model))}


def server(id_: int) -> Server:
    with unit_of_work() as uow:
        return uow.session.get_one(Server, id_)


def state(cluster: Cluster) -> Cluster:
    with unit_of_work() as uow:
        return uow.session.get_one(Cluster, cluster.id)


def guest(vmid: int) -> Guest | None:
    with unit_of_work() as uow:
        return uow.session.scalars(select(Guest).where(Guest.vmid == vmid)).one_or_none()


def calls(simulator: Simulator, path: str) -> int:
    return sum(1 for _, p, *_ in simulator.control("requests") if p.split("?")[0].endswith(path))


def test_the_first_poll_fills_nodes_storages_bridges_and_guests(cluster: Cluster) -> None:
    assert {n.name for n in rows(Node).values()} == {"pve1", "pve2", "pve3"}
    assert any(s.images and s.shared for s in rows(Storage).values())
    assert {b.name for b in rows(Bridge).values()} >= {"vmbr0", "vmbr1"}
    assert {g.name for g in rows(Guest).values()} >= {"ubuntu-24.04", "debian-12", "rocky-9"}
    assert state(cluster).status == "online" and state(cluster).release


def test_one_call_a_poll_and_nobody_polls_twice(cluster: Cluster, simulator: Simulator) -> None:
    before = calls(simulator, "/cluster/resources")
    assert inventory.poll(cluster.id, due_s=0)
    assert calls(simulator, "/cluster/resources") == before + 1
    assert inventory.poll_all() == 0  # not due
    assert calls(simulator, "/cluster/resources") == before + 1


def test_a_quiet_cluster_writes_no_guest(cluster: Cluster) -> None:
    inventory.poll(cluster.id, due_s=0)
    before = {i: g.version for i, g in rows(Guest).items()}
    with unit_of_work() as uow:
        stamp = {i: x for i, x in uow.session.execute(text("select id, xmin::text from guest"))}
    inventory.poll(cluster.id, due_s=0)
    with unit_of_work() as uow:
        assert {i: x for i, x in uow.session.execute(text("select id, xmin::text from guest"))} == stamp
    assert {i: g.version for i, g in rows(Guest).items()} == before


def test_foreign_guests_come_change_and_go(cluster: Cluster, simulator: Simulator) -> None:
    simulator.make_vm(711, "printer", ipconfig0="ip=10.10.0.77/22,gw=10.10.0.1")
    inventory.poll(cluster.id, due_s=0)
    found = guest(711)
    assert found is not None and (found.name, found.status, found.ip_addresses) == (
        "printer",
        "stopped",
        ["10.10.0.77"],
    )
    simulator.control("rename", vmid=711, name="scanner")
    simulator.power(711, "start")
    inventory.poll(cluster.id, due_s=0)
    later = guest(711)
    assert later is not None and (later.name, later.status, later.version) == ("scanner", "running", found.version + 1)
    simulator.control("delete", vmid=711)
    inventory.poll(cluster.id, due_s=0)
    assert guest(711) is None


def test_a_server_follows_its_vm(
    cluster: Cluster, simulator: Simulator, make_server: Callable[..., Any], store: "redis.Redis"
) -> None:
    made = make_server("web-1", nics=[{"ip": "10.10.0.30"}])
    simulator.power(made.vmid, "start")
    inventory.poll(cluster.id, due_s=0)
    now = server(made.id)
    assert now.status == ServerStatus.RUNNING and now.ip_addresses == ["10.10.0.30"] and now.version > made.version
    told = [f for _, f in store.xrange(events.STREAM) if f["e"] == "server"]
    assert told and told[-1]["a"] == f"owner:{made.owner_id}" and '"status":"running"' in told[-1]["d"]
    simulator.power(made.vmid, "stop")
    inventory.poll(cluster.id, due_s=0)
    assert server(made.id).status == ServerStatus.STOPPED


def test_what_proxmox_has_locked_a_vm_for_is_shown_until_it_lets_go(
    cluster: Cluster, simulator: Simulator, make_server: Callable[..., Any], client_for: Callable[..., Any], make_user: Callable[..., Any]
) -> None:
    made, viewer = make_server("web-1"), client_for(make_user("viewer"))
    simulator.control("lock", vmid=made.vmid, lock="backup")
    inventory.poll(cluster.id, due_s=0)
    assert server(made.id).lock == "backup"
    assert "Locked by Proxmox: backup" in viewer.get("/servers").text
    assert "Proxmox has locked this VM: backup." in viewer.get("/servers/web-1").text
    simulator.control("lock", vmid=made.vmid)
    inventory.poll(cluster.id, due_s=0)
    assert server(made.id).lock is None


def test_the_agents_addresses_are_shown(
    cluster: Cluster, simulator: Simulator, make_server: Callable[..., Any]
) -> None:
    made = make_server("web-1", running=True, agent=True)

    def known() -> bool:
        inventory.poll(cluster.id, due_s=0)
        return bool(server(made.id).ip_addresses)

    from tests.integration.conftest import until

    until(known)
    assert all(not a.startswith("127.") for a in server(made.id).ip_addresses)


def test_a_busy_server_keeps_its_status(
    cluster: Cluster, simulator: Simulator, make_server: Callable[..., Any]
) -> None:
    changing = make_server("web-1", busy_run_id=5)
    making = make_server("web-2", status=ServerStatus.CREATING)
    for made in (changing, making):
        simulator.power(made.vmid, "start")
    inventory.poll(cluster.id, due_s=0)
    assert server(changing.id).status == ServerStatus.STOPPED and server(making.id).status == ServerStatus.CREATING


def test_a_vm_that_vanished_or_is_somebody_elses_is_unknown(
    cluster: Cluster, simulator: Simulator, make_server: Callable[..., Any]
) -> None:
    gone, replaced = make_server("web-1"), make_server("web-2")
    simulator.control("delete", vmid=gone.vmid)
    simulator.control("delete", vmid=replaced.vmid)
    simulator.make_vm(replaced.vmid, "other")
    inventory.poll(cluster.id, due_s=0)
    inventory.poll(cluster.id, due_s=0)
    assert server(gone.id).status == server(replaced.id).status == ServerStatus.UNKNOWN


def test_an_offline_node_makes_its_servers_unknown(
    cluster: Cluster, simulator: Simulator, make_server: Callable[..., Any]
) -> None:
    made = make_server("web-1")
    simulator.control("node", node="pve1", online=False)
    inventory.poll(cluster.id, due_s=0)
    assert server(made.id).status == ServerStatus.UNKNOWN
    assert [n.online for n in rows(Node).values() if n.name == "pve1"] == [False]
    simulator.control("node", node="pve1", online=True)
    inventory.poll(cluster.id, due_s=0)
    assert server(made.id).status == ServerStatus.STOPPED


def test_what_is_wrong_with_a_cluster_is_on_its_row_with_how_often_it_was_asked(
    cluster: Cluster, simulator: Simulator, store: "redis.Redis"
) -> None:
    simulator.control(
        "fail", method="GET", suffix="/cluster/resources", status=403, message="Permission check failed (/, Sys.Audit)"
    )
    store.delete(events.STREAM)
    inventory.poll(cluster.id, due_s=0)
    inventory.poll(cluster.id, due_s=0)
    now = state(cluster)
    assert now.status == "proxmox_forbidden" and now.status_args["privilege"] == "Sys.Audit"
    assert now.failures == 2 and [f["e"] for _, f in store.xrange(events.STREAM)] == ["cluster"] * 2
    simulator.control("reset")
    inventory.poll(cluster.id, due_s=0)
    assert (state(cluster).status, state(cluster).failures) == ("online", 0)


def test_a_cluster_that_does_not_answer_is_asked_less_often(cluster: Cluster) -> None:
    def begun(ago_s: float) -> None:
        with unit_of_work() as uow:
            uow.session.get_one(Cluster, cluster.id).poll_begun_at = clock.later(-ago_s)

    for failures, early_s, due_s in ((0, 7, 9), (1, 15, 17), (2, 31, 33), (9, 31, 33)):
        with unit_of_work() as uow:
            uow.session.get_one(Cluster, cluster.id).failures = failures
        begun(early_s)
        assert not inventory.poll(cluster.id), (failures, early_s)
        begun(due_s)
        assert inventory.poll(cluster.id), (failures, due_s)
        assert state(cluster).failures == 0, "it answers"


def test_an_unreachable_cluster_keeps_what_was_known(cluster: Cluster) -> None:
    with unit_of_work() as uow:
        uow.session.get_one(Cluster, cluster.id).endpoint = "https://127.0.0.1:1"
    inventory.poll(cluster.id, due_s=0)
    assert state(cluster).status == "proxmox_unreachable_refused" and len(rows(Node)) == 3


def test_a_detail_that_fails_does_not_spoil_the_poll(cluster: Cluster, simulator: Simulator) -> None:
    simulator.make_vm(712, "quiet")
    simulator.control("fail", method="GET", suffix="/qemu/712/config", status=500, message="got timeout")
    inventory.poll(cluster.id, due_s=0)
    found = guest(712)
    assert state(cluster).status == "online" and found is not None and found.config_read_at is None


def test_the_pages_of_nodes_and_guests(
    cluster: Cluster, simulator: Simulator, client_for: Callable[..., Any], make_user: Callable[..., Any]
) -> None:
    simulator.make_vm(713, "foreign")
    inventory.poll(cluster.id, due_s=0)
    viewer = client_for(make_user("viewer"))
    found = viewer.get("/api/nodes").json["items"]
    assert [n["name"] for n in found] == ["pve1", "pve2", "pve3"] and found[0]["storages"] and found[0]["bridges"]
    assert "foreign" in [g["name"] for g in viewer.get("/api/guests?q=fore").json["items"]]
    assert client_for(make_user("developer")).get("/api/guests").status_code == 403
