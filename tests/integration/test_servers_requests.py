"""Requests for servers at the same moment: nobody waits for another, nothing is handed out twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import inspect, select

from app.errors import Invalid
from app.models import AuditEvent, Cluster, Outbox, Project, Reservation, Run, RunEvent, Server
from app.services import server_stock, servers
from app.services.actor import Actor
from app.services.batch import Batch, Taken
from app.services.server_stock import Asked, Stock
from app.services.uow import UnitOfWork, unit_of_work

Make = Callable[..., Any]


@pytest.fixture
def actor(make_user: Make, cluster: Cluster) -> Actor:
    with unit_of_work() as uow:
        uow.session.add(Project(name="default"))
    return Actor.of(make_user("developer", "dora"))


def body(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "template": "debian-12", "memory_mib": 512, **more}


def look(uow: UnitOfWork, count: int = 1, network: str | None = None) -> Stock:
    names = [f"new-{n}" for n in range(count)]
    return server_stock.read(uow.session, Asked("debian-12", None, names, [(network, count)], hold=True))


def taken(stock: Stock) -> tuple[list[int], list[str]]:
    assert stock.held is not None
    return stock.held.vmids, stock.networks[None].free


def test_the_lowest_free_numbers_go_first_when_nobody_else_asks(actor: Actor) -> None:
    made = []
    for name in ("one", "two"):
        with unit_of_work() as uow:
            made.append(servers.create(uow, actor, body(name)).run.names[0])
    with unit_of_work() as uow:
        rows = {s.name: s for s in uow.session.scalars(select(Server))}
    assert made == ["one", "two"]
    assert rows["two"].vmid == rows["one"].vmid + 1
    assert [rows[n].nics[0]["ip"].rpartition(".")[2] for n in made] == [str(int(rows["one"].nics[0]["ip"].rpartition(".")[2]) + n) for n in (0, 1)]


def test_what_one_transaction_looks_at_another_passes_over(actor: Actor) -> None:
    with unit_of_work() as one, unit_of_work() as two, unit_of_work() as three:
        seen = [taken(look(uow, 20)) for uow in (one, two, three)]
    vmids, addresses = ([value for of_one in seen for value in of_one[kind]] for kind in (0, 1))
    assert len(set(vmids)) == len(set(addresses)) == 60


def test_a_look_without_intent_holds_nothing(actor: Actor) -> None:
    with unit_of_work() as one, unit_of_work() as two:
        for uow in (one, two):
            found = server_stock.read(uow.session, Asked("debian-12", None, ["x"], [(None, 3)]))
            assert found.held is None
            free = found.networks[None].free
        assert free == taken(look(two, 3))[1]


def test_many_requests_at_once_get_names_numbers_and_addresses_of_their_own(app: Flask, actor: Actor) -> None:
    def ask(number: int) -> None:
        with app.app_context(), unit_of_work() as uow:
            servers.create(uow, actor, body(f"web{number}", count=5))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))
    with unit_of_work() as uow:
        rows = list(uow.session.scalars(select(Server)))
        held = list(uow.session.scalars(select(Reservation)))
    assert len(rows) == len({s.vmid for s in rows}) == len({s.nics[0]["ip"] for s in rows}) == 80
    assert {(r.kind, r.value, r.server_id) for r in held} == {
        key for s in rows for key in (("vmid", str(s.vmid), s.id), ("ip", s.nics[0]["ip"], s.id))
    }


def test_of_two_requests_for_one_name_the_second_is_told_that_it_is_taken(app: Flask, actor: Actor) -> None:
    def ask(_number: int) -> str:
        try:
            with app.app_context(), unit_of_work() as uow:
                servers.create(uow, actor, body("the-one"))
        except Invalid as exc:
            return exc.errors[0].code
        return "made"

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(ask, range(4)))
    assert answers == ["made", "name_taken", "name_taken", "name_taken"]
    with unit_of_work() as uow:
        assert len(list(uow.session.scalars(select(Run)))) == 1


def test_a_request_leaves_its_run_timeline_audit_and_messages_in_one_transaction(actor: Actor) -> None:
    with unit_of_work() as uow:
        run = servers.create(uow, actor, body("db", count=2)).run
        assert len(list(uow.session.scalars(select(Outbox)))) == 4  # the bell, the run's event, one of each server
        uow.session.rollback()
        uow._told.clear()  # noqa: SLF001 - nothing was committed, nothing may be told
        assert uow.session.get(Run, run.id) is None
    with unit_of_work() as uow:
        run = servers.create(uow, actor, body("db", count=2)).run
    with unit_of_work() as uow:
        names = list(uow.session.scalars(select(RunEvent.name).where(RunEvent.run_id == run.id).order_by(RunEvent.id)))
        audited = list(uow.session.scalars(select(AuditEvent.object_name).where(AuditEvent.action == "server.create").order_by(AuditEvent.id)))
        stored = uow.session.get_one(Run, run.id)
    assert names == ["requested", "plan_queued"] and audited == ["db-1", "db-2"]
    assert stored.bell_at is not None and stored.created_at is not None


def test_a_batch_fills_in_what_the_mapper_would(actor: Actor) -> None:
    with unit_of_work() as uow:
        servers.create(uow, actor, body("whole"))
    with unit_of_work() as uow:
        server = uow.session.scalars(select(Server)).one()
        unset = [c.key for c in inspect(Server).column_attrs if not c.columns[0].nullable and getattr(server, c.key) is None]
        assert (unset, server.in_state, server.version) == ([], False, 1)


def test_a_batch_that_meets_the_same_values_writes_nothing_and_the_transaction_goes_on(actor: Actor, cluster: Cluster) -> None:
    def held(value: str) -> Reservation:
        return Reservation(cluster_id=cluster.id, kind="vmid", scope="", value=value)

    with unit_of_work() as uow:
        first = Batch()
        first.add(held("4711"))
        first.write(uow.session)
        second = Batch()
        second.add(held("4712"))
        second.add(held("4711"))
        with pytest.raises(Taken):
            second.write(uow.session)
    with unit_of_work() as uow:
        assert list(uow.session.scalars(select(Reservation.value))) == ["4711"]
