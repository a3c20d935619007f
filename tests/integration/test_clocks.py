"""A machine whose clock is wrong: all times are PostgreSQL's, so nobody is taken for dead, expired or old because of it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.domain.run_state import RunState
from app.models import Run, RunEvent, RunLease, User
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.conftest import ROOT

# What every program asks for the time of day, moved by SHIFT_S.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { char *text = getenv("SHIFT_S"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t id, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME && !done) at->tv_sec += shift();
    return done;
}
time_t time(time_t *at) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); if (at) *at = now.tv_sec; return now.tv_sec; }
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; return 0;
}
"""
WORKER = """
import sys, time
from uuid import UUID
from app import create_core
from app.config import get_settings
from app.runner.lease import Lease
from app.services import run_execution, sweeper
from app.services.uow import unit_of_work
from sqlalchemy import text

with create_core(get_settings()).app_context():
    with unit_of_work() as uow:
        claim = run_execution.claim(uow, UUID(sys.argv[1]))
    lease = Lease(claim.run_id, claim.fence, print, 3600, 60)
    lease.start()
    while True:
        with unit_of_work() as uow:
            if uow.session.scalar(text("select pid from run_lease where run_id = :run"), {"run": claim.run_id}):
                break
    lease.close()
    sweeper.tick()
    print(time.time())
"""


@pytest.fixture(scope="session")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(folder / "clock.so"), str(folder / "clock.c"), "-ldl"], check=True, timeout=60)
    return folder / "clock.so"


@pytest.mark.parametrize("shift_s", [-86_400 * 3, 86_400 * 3], ids=["three days behind", "three days ahead"])
def test_a_worker_with_a_wrong_clock_begins_renews_and_sweeps_like_any_other(dora: User, shifted_clock: Path, shift_s: int) -> None:
    live, asked, queued = (
        rows.run(rows.workspace(dora, name), dora, state) for name, state in
        (("live", RunState.APPLYING), ("asked", RunState.PLANNED), ("queued", RunState.PLAN_QUEUED))
    )  # fmt: skip
    rows.lease(live, 0)
    with unit_of_work() as uow:
        for run in (live, asked):
            row = uow.session.get_one(Run, run.id)
            row.planned_at = row.progressed_at = row.bell_at = func.clock_timestamp()
        before = uow.session.scalars(select(func.clock_timestamp())).one()
    environment = os.environ | {"LD_PRELOAD": str(shifted_clock), "SHIFT_S": str(shift_s), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", WORKER, str(queued.task_id)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with unit_of_work() as uow:
        after = uow.session.scalars(select(func.clock_timestamp())).one()
        assert abs(float(done.stdout.split()[-1]) - after.timestamp()) > abs(shift_s) / 2, "its clock is wrong indeed"
        assert {r.id: r.state for r in uow.session.scalars(select(Run))} == {
            live.id: RunState.APPLYING, asked.id: RunState.PLANNED, queued.id: RunState.PLANNING,
        }  # fmt: skip
        begun = uow.session.get_one(Run, queued.id)
        renewed = uow.session.scalars(select(RunLease.renewed_at).where(RunLease.run_id == queued.id)).one()
        times = [begun.started_at, begun.progressed_at, renewed, *uow.session.scalars(select(RunEvent.at))]
        assert all(before <= at <= after for at in times if at is not None) and None not in times
        assert list(uow.session.scalars(select(RunEvent.name))) == ["planning"], "nobody was lost or stalled"


# Where the machine's own clock decides nothing that is stored or compared with what is.
OWN_CLOCK = {
    "app/services/action_doubt.py",  # a node that does not tell its time, with two minutes of tolerance
    "app/services/health.py",  # whether that clock and the database's agree
    "app/services/inventory.py",  # which share of the guests is looked at this time
    "app/runner/adoption.py",  # the name of a file
}


def test_nothing_that_decides_over_rows_asks_the_machines_own_clock() -> None:
    asks = set()
    for layer in ("domain", "models", "services", "runner", "tasks"):
        for path in (ROOT / "app" / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and (
                    node.attr in ("utcnow", "today", "time_ns") or (node.attr, ast.unparse(node.value)) in (("time", "time"), ("now", "datetime"))
                ):
                    asks.add(str(path.relative_to(ROOT)))
    assert asks == OWN_CLOCK
