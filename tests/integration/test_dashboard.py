"""The first page: what needs the reader, capacity now and over the last weeks, and how runs went."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.domain.run_state import RunKind, RunState
from app.models import CapacitySample, Cluster, Guest, Node, Run, Server, Storage, User
from app.services import capacity, run_statistics
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]


@pytest.fixture
def lab(dora: User) -> Cluster:
    """Two nodes, one of them with more given away than it has; a shared storage that both see, and a local one."""
    cluster = rows.cluster()
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(enabled=True))
        for name, used in (("pve1", 8192), ("pve2", 4096)):
            uow.session.add(Node(cluster_id=cluster.id, name=name, cores=8, memory_mib=16_384, memory_used_mib=used))
            uow.session.add(Storage(cluster_id=cluster.id, node_name=name, name="nfs", shared=True, images=True, total_gib=1000, used_gib=100))
        uow.session.add(Storage(cluster_id=cluster.id, node_name="pve1", name="local", images=True, total_gib=50, used_gib=10))
        uow.session.add(Storage(cluster_id=cluster.id, node_name="pve1", name="iso", images=False, total_gib=50, used_gib=50))
        for vmid, node, memory, template in ((901, "pve1", 12_288, False), (902, "pve1", 8192, False), (903, "pve2", 2048, False), (904, "pve2", 99_999, True)):
            uow.session.add(Guest(cluster_id=cluster.id, vmid=vmid, name=f"g{vmid}", node_name=node, memory_mib=memory, cores=4, template=template))
    rows.workspace(dora, "web")
    with unit_of_work() as uow:
        disks = [{"interface": "scsi0", "storage": "nfs", "size_gib": 40}, {"interface": "scsi1", "storage": "local", "size_gib": 60}]
        uow.session.execute(update(Server).values(disks=disks, node_name="pve1"))
    return cluster


# ---------------------------------------------------------------- capacity
def test_capacity_counts_what_guests_were_given_and_a_shared_storage_once(lab: Cluster) -> None:
    with unit_of_work() as uow:
        [room] = capacity.now(uow.session)
    assert [(n.name, n.used, n.allocated, n.cores_allocated, n.over) for n in room.nodes] == [("pve1", 8192, 20_480, 8, True), ("pve2", 4096, 2048, 4, False)]
    assert [(s.name, s.node, s.total, s.given, s.over) for s in room.storages] == [("local", "pve1", 50, 60, True), ("nfs", "", 1000, 40, False)]


def test_more_given_than_there_is_is_said_on_the_page(lab: Cluster, client_for: Make, dora: User) -> None:
    page = client_for(dora, "cookie").get("/").text
    assert page.count("more than there is") == 2 and "20 GiB" in page


def test_an_hour_keeps_its_last_sample_and_old_ones_go(lab: Cluster) -> None:
    with unit_of_work() as uow:
        capacity.sample(uow, lab.id)
    with unit_of_work() as uow:
        uow.session.execute(update(Node).values(memory_used_mib=1024))
        capacity.sample(uow, lab.id)
        old = func.date_trunc("hour", func.clock_timestamp()) - timedelta(days=40)
        uow.session.add(CapacitySample(cluster_id=lab.id, hour=old, memory_mib=1, memory_used_mib=1, memory_allocated_mib=1, disk_gib=1, disk_used_gib=1))
    with unit_of_work() as uow:
        capacity.forget_old(uow)
    with unit_of_work() as uow:
        [kept] = uow.session.scalars(select(CapacitySample)).all()
        [hour] = capacity.history(uow.session)
    assert (kept.memory_used_mib, kept.memory_allocated_mib, kept.disk_gib, kept.disk_used_gib) == (2048, 22_528, 1050, 110)
    assert (hour.memory, hour.memory_used, hour.memory_allocated, hour.disk, hour.disk_used) == (32, 2, 22, 1050, 110)


def test_weeks_are_drawn_in_parts_of_six_hours_all_clusters_together(lab: Cluster) -> None:
    with unit_of_work() as uow:
        other = Cluster(name="other", endpoint="https://192.0.2.2:8006", auth_id="a@pve!b", secret=b"x")
        uow.session.add(other)
        uow.session.flush()
        now = uow.session.scalar(select(func.date_trunc("hour", func.clock_timestamp())))
        for hours in range(72):
            for cluster_id, memory in ((lab.id, 10_240), (other.id, 20_480)):
                uow.session.add(CapacitySample(
                    cluster_id=cluster_id, hour=now - timedelta(hours=hours), memory_mib=memory, memory_used_mib=1024, memory_allocated_mib=2048, disk_gib=100,
                    disk_used_gib=hours,
                ))  # fmt: skip
    with unit_of_work() as uow:
        found = capacity.history(uow.session)
    assert len(found) == 12
    assert {(h.memory, h.memory_used, h.memory_allocated, h.disk) for h in found} == {(30, 2, 4, 200)}
    assert [h.at for h in found] == sorted(h.at for h in found) and found[0].disk_used > found[-1].disk_used


# ---------------------------------------------------------------- runs
def ended(who: User, name: str, state: RunState, days_ago: int, took_s: float = 1, kind: RunKind = RunKind.CREATE) -> Run:
    run = rows.run(rows.workspace(who, name), who, state, kind=kind)
    with unit_of_work() as uow:
        then = func.clock_timestamp() - timedelta(days=days_ago)
        uow.session.execute(update(Run).where(Run.id == run.id).values(finished_at=then, created_at=then - timedelta(seconds=took_s)))
    return run


def test_every_day_is_there_with_its_results_and_durations(dora: User, make_user: Make) -> None:
    for number, (state, days_ago, took_s, kind) in enumerate((
        (RunState.APPLIED, 0, 10, RunKind.CREATE), (RunState.APPLIED, 0, 20, RunKind.CREATE), (RunState.APPLIED, 0, 500, RunKind.CHANGE), (RunState.ERRORED, 0, 99, RunKind.CREATE),
        (RunState.CANCELED, 3, 1, RunKind.CREATE), (RunState.PLANNED_AND_FINISHED, 3, 1, RunKind.CHANGE), (RunState.APPLIED, 45, 1, RunKind.CREATE),
    )):  # fmt: skip
        ended(dora, f"web-{number}", state, days_ago, took_s, kind)
    ended(make_user("developer"), "his", RunState.ERRORED, 0)
    with unit_of_work() as uow:
        found = run_statistics.days(uow.session, Actor.of(dora))
    assert len(found) == 30
    today, before = found[-1], found[-4]
    assert (today.done, today.failed, today.given_up, today.p50_s) == (3, 1, 0, pytest.approx(15, abs=0.01))
    assert today.p95_s is not None and 19 < today.p95_s < 20
    assert (before.done, before.failed, before.given_up, before.p50_s) == (1, 0, 1, None)
    assert sum(day.ended for day in found) == 6


def test_the_charts_get_one_value_a_day_and_the_page_the_same_as_figures(dora: User, client_for: Make) -> None:
    ended(dora, "web", RunState.APPLIED, 0, 12)
    client = client_for(dora, "cookie")
    charts = client.get("/_charts").json
    assert {len(values) for values in charts["days"].values()} == {30} and charts["days"]["p50_s"][-1] == 12.0
    assert charts["capacity"]["at"] == []
    assert "12.0 s" in client.get("/").text


def test_ones_own_failure_asks_for_attention_until_it_is_asked_for_again(dora: User, make_user: Make, client_for: Make) -> None:
    bad = ended(dora, "web", RunState.ERRORED, 0)
    ended(dora, "old", RunState.ERRORED, 9)
    ended(make_user("developer"), "his", RunState.ERRORED, 0)
    client = client_for(dora, "cookie")

    def needed() -> str:
        page = client.get("/").text
        return page[page.index("Needs you") : page.index('class="tiles"')] if "Needs you" in page else ""

    assert f'href="/runs/{bad.id}"' in needed() and needed().count("<li>") == 1
    again = rows.run(rows.workspace(dora, "web-again"), dora, RunState.APPLIED)
    with unit_of_work() as uow:
        uow.session.execute(update(Run).where(Run.id == again.id).values(retry_of_id=bad.id))
    assert needed() == ""
