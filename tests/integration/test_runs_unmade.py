"""Servers of which a run could not tell at its end whether they were made: Proxmox decides, not hope."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.extensions import db
from app.models import Cluster, Guest, Reservation, Run, Server, User
from app.services import sweeper
from app.services.uow import unit_of_work
from tests.integration import rows


@pytest.fixture
def doubtful(make_user: Callable[..., Any]) -> Server:
    """A server that a failed create left behind a minute ago, not known to be there."""
    dora: User = make_user("developer", "dora")
    workspace = rows.workspace(dora)
    run = rows.run(workspace, dora, RunState.ERRORED)
    with unit_of_work() as uow:
        ended = func.clock_timestamp() - timedelta(seconds=60)
        uow.session.execute(update(Run).where(Run.id == run.id).values(kind=RunKind.CREATE, finished_at=ended))
        server = uow.session.scalars(select(Server)).one()
        server.status, server.in_state, server.run_id = ServerStatus.FAILED, False, run.id
        uow.session.add(Reservation(cluster_id=server.cluster_id, kind="vmid", value=str(server.vmid), server_id=server.id))
    return server


def polled(seconds_ago: float, *vmids: int) -> None:
    """The inventory was read so long ago and showed these guests."""
    with unit_of_work() as uow:
        cluster = uow.session.scalars(select(Cluster)).one()
        cluster.polled_at = func.clock_timestamp() - timedelta(seconds=seconds_ago)
        for vmid in vmids:
            uow.session.add(Guest(cluster_id=cluster.id, vmid=vmid, name="web", node_name="pve1", kind="qemu", status="stopped"))


def swept() -> bool:
    """Sweep; True when the server left the list."""
    with unit_of_work() as uow:
        sweeper.forget_unmade(uow)
    return db.session.scalars(select(Server.deleted_at)).one() is not None


def test_a_server_that_proxmox_does_not_show_leaves_the_list_and_its_vmid_rests(doubtful: Server) -> None:
    polled(5)
    assert swept()
    rest = db.session.scalars(select(Reservation)).one()
    assert (rest.value, rest.quarantined_until is not None) == (str(doubtful.vmid), True)


def test_a_server_that_proxmox_shows_stays(doubtful: Server) -> None:
    polled(5, doubtful.vmid)
    assert not swept()


def test_before_proxmox_was_asked_again_nothing_is_forgotten(doubtful: Server) -> None:
    polled(50)
    assert not swept()


def test_a_server_that_a_retry_works_on_is_left_to_it(doubtful: Server) -> None:
    polled(5)
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(busy_run_id=doubtful.run_id))
    assert not swept()
