"""The run's bell: claim, fork the runner, hold the slot until it ends. The task is the slot, the runner is the work."""

import os
import socket
from uuid import UUID

from flask import current_app
from sqlalchemy.exc import InterfaceError, OperationalError

from app.adapters import figures
from app.adapters.broker import celery
from app.config import get_settings
from app.domain.tasks import TaskName
from app.log import get_logger
from app.runner import main, process
from app.services import run_execution
from app.services.uow import unit_of_work

log = get_logger(__name__)


# The runner has its own deadline; this task only waits for it.
@celery.task(name=TaskName.RUN.value, acks_late=False, ignore_result=True, soft_time_limit=0, time_limit=0)
def execute_run(task_id: str) -> None:
    """Begin a run if it is free; a second delivery loses the claim and returns."""
    with unit_of_work() as uow:
        claim = run_execution.claim(uow, UUID(task_id))
    if claim is None:
        log.info("claim_lost", task_id=task_id)
        figures.count(figures.CLAIMS_LOST, "run")
        return
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - the runner outlives this context
    folder = get_settings().data_dir / "log" / "runs"
    try:
        pid = process.fork_detached(lambda: main.run(app, claim), folder / f"{claim.run_id}-{claim.fence}.log")
    except OSError as exc:
        log.error("runner_not_started", run_id=claim.run_id, reason=str(exc))
        with unit_of_work() as uow:
            run_execution.release(uow, claim)
        return
    log.info("runner_started", run_id=claim.run_id, fence=claim.fence, pid=pid, host=socket.gethostname())
    if process.wait_any(pid, (app.extensions["leaving_fd"],)):
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        log.info("runner_ended", run_id=claim.run_id, fence=claim.fence, code=code)
        if code != 0:
            _next_runner(claim)
        return
    log.info("worker_leaves_runner", run_id=claim.run_id, fence=claim.fence, pid=pid)


def _next_runner(claim: run_execution.Claim) -> None:
    """The runner was killed under our eyes: nobody need wait for its lease to run out. Without a database that is what happens."""
    try:
        with unit_of_work() as uow:
            if run_execution.lost(uow, claim):
                log.warning("runner_killed", run_id=claim.run_id, fence=claim.fence)
    except (OperationalError, InterfaceError) as exc:
        log.warning("runner_killed_unsaid", run_id=claim.run_id, reason=str(exc.orig))
