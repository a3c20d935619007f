"""`/metrics`: what rows say, and what workers and runners counted in whatever process they are."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from app.adapters import figures
from app.adapters.proxmox.client import ProxmoxClient
from app.domain.run_state import RunState
from app.errors import Fenced, ProxmoxError
from app.models import Cluster, Run, RunEvent, User
from app.runner.state_server import StateServer
from app.services import clock, clusters, forked, run_execution, sweeper
from app.services.uow import unit_of_work
from tests.fixtures.simulator import Simulator
from tests.integration import rows

Make = Callable[..., Any]


@pytest.fixture
def figure(client_for: Make, store: "redis.Redis") -> Callable[..., float]:
    """Returns the value of a sample: `figure("tpm_runs", state="applied")`; 0 when there is none."""
    store.delete(figures.KEY, figures.WORKERS_KEY)
    client = client_for()

    def read(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return next((s.value for family in families for s in family.samples if (s.name, s.labels) == (name, labels)), 0.0)

    return read


def test_runs_are_counted_by_state_and_by_how_long_they_took(dora: User, figure: Callable[..., float]) -> None:
    for n, (state, seconds) in enumerate([(RunState.APPLIED, 4), (RunState.APPLIED, 45), (RunState.ERRORED, 7200), (RunState.PLAN_QUEUED, 0)]):
        run = rows.run(rows.workspace(dora, f"web{n}"), dora, state)
        with unit_of_work() as uow:
            if seconds:
                uow.session.execute(update(Run).where(Run.id == run.id).values(finished_at=Run.created_at + timedelta(seconds=seconds)))
    assert (figure("tpm_runs", state="applied"), figure("tpm_runs", state="errored")) == (2, 1)
    of = {"kind": "change", "state": "applied"}
    assert [figure("tpm_run_seconds_bucket", **of, le=le) for le in ("5.0", "30.0", "60.0", "+Inf")] == [1, 1, 2, 2]
    assert (figure("tpm_run_seconds_count", **of), figure("tpm_run_seconds_sum", **of)) == (2, 49)
    assert figure("tpm_run_seconds_bucket", kind="change", state="errored", le="3600.0") == 0


def test_how_long_the_oldest_waits_is_told_of_what_its_bell_rang_for(dora: User, figure: Callable[..., float]) -> None:
    assert figure("tpm_queue_oldest_seconds", queue="terraform") == 0
    run = rows.run(rows.workspace(dora), dora, RunState.PLAN_QUEUED)
    with unit_of_work() as uow:
        uow.session.add(RunEvent(run_id=run.id, event_key="q", fence=run.fence, name="plan_queued", detail={}, at=clock.later(-90)))
    assert 90 <= figure("tpm_queue_oldest_seconds", queue="terraform") < 120


def test_what_forked_processes_count_is_added_up(app: Flask, figure: Callable[..., float]) -> None:
    def count() -> None:
        with app.app_context():
            forked.forget_connections()
            for _ in range(50):
                figures.count(figures.TERRAFORM_EXITS, "apply", "0")

    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=count) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert figure("tpm_terraform_exits_total", command="apply", code="0") == 200


def test_calls_to_proxmox_are_timed_and_their_errors_counted_by_code(cluster: Cluster, simulator: Simulator, figure: Callable[..., float]) -> None:
    before = figure("tpm_proxmox_seconds_count")
    with ProxmoxClient(clusters.access(cluster)) as proxmox:
        proxmox.version()
        simulator.control("fail", method="GET", suffix="/version", status=403, message="no")
        with pytest.raises(ProxmoxError):
            proxmox.version()
    assert figure("tpm_proxmox_seconds_count") == before + 2
    assert figure("tpm_proxmox_errors_total", code="proxmox_forbidden") == 1


def test_a_refused_state_a_lost_claim_and_a_round_of_the_sweeper_are_counted(app: Flask, dora: User, figure: Callable[..., float]) -> None:
    run = rows.run(rows.workspace(dora), dora, RunState.APPLYING)
    server = StateServer(app, run.id, run.workspace_id, run.fence, lambda: None)
    assert server.answer("POST", "", b"no state")[0] == 400
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(fence=Run.fence + 1))
    with pytest.raises(Fenced), unit_of_work() as uow:
        run_execution.guard(uow, run.id, run.fence)
    assert server.answer("POST", "", rows.state(1))[0] == 409
    server.close()
    sweeper.tick()
    assert (figure("tpm_state_writes_refused_total", reason="malformed"), figure("tpm_state_writes_refused_total", reason="fenced")) == (1, 1)
    assert figure("tpm_sweeps_total") == 1


def test_a_worker_counts_while_it_gives_signs_of_life(figure: Callable[..., float], store: "redis.Redis") -> None:
    assert figure("tpm_workers_up") == 0
    figures._store.sign(figures.WORKERS_KEY, "one", figures.ALIVE_S)
    figures._store.sign(figures.WORKERS_KEY, "two", figures.ALIVE_S)
    assert figure("tpm_workers_up") == 2
    store.zadd(figures.WORKERS_KEY, {"two": 0})
    assert figure("tpm_workers_up") == 1


def test_what_can_still_be_given_out_is_told_by_pool(cluster: Cluster, make_server: Make, figure: Callable[..., float]) -> None:
    before = figure("tpm_reservations_left", kind="vmid", of=cluster.name)
    assert before == cluster.vmid_high - cluster.vmid_low + 1
    assert figure("tpm_clusters_online", cluster=cluster.name) == 1
