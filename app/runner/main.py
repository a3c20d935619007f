"""The run's own process: from the claim to the run's end, needing nobody else alive.

    pool child (Celery task: claim, fork, wait) ── runner (own session; threads: lease, state server)
                                                     └─ keeper (single-threaded) ── terraform ── provider
"""

import errno
import os
import shutil

from flask import Flask

from app import tracing
from app.adapters import figures
from app.adapters.terraform.process import KeeperGone
from app.adapters.terraform.skeleton import ensure_skeleton
from app.domain.run_state import RunState
from app.errors import AppError, Fenced, RunFailed
from app.log import get_logger
from app.runner import adoption, leaving, outcome, phases
from app.runner.context import Claimed, RunContext
from app.runner.leaving import Leaving
from app.runner.patience import LOST, patient
from app.services import forked, run_execution, run_facts, run_results, states, workspaces
from app.services.run_execution import Claim

log = get_logger(__name__)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(app: Flask, claim: Claim) -> None:
    """Do all of a claimed run in this (forked) process."""
    tracing.part("runner")
    origin = tracing.take_up(claim.origin, run_id=claim.run_id, task_id=claim.task_id)
    with app.app_context(), tracing.span("run", origin.get("traceparent", ""), run_id=claim.run_id, fence=claim.fence):
        forked.forget_connections()
        try:
            _run(app, claim)
        except (Fenced, KeeperGone, Leaving) as exc:
            # Somebody else goes on, or Terraform finishes without us and the next runner waits for it.
            log.warning("runner_left", run_id=claim.run_id, fence=claim.fence, reason=str(exc))
            if isinstance(exc, Fenced):
                figures.count(figures.CLAIMS_LOST, "run")
        except LOST as exc:
            log.error("runner_gave_up", run_id=claim.run_id, fence=claim.fence, reason=str(exc.orig))
    tracing.flush()


def _run(app: Flask, claim: Claim) -> None:
    facts = patient(lambda uow: run_facts.read(uow, claim.run_id, claim.fence))
    try:
        skeleton = ensure_skeleton()
    except AppError as exc:
        _fail_early(claim, exc)
        return
    context = RunContext(app, Claimed(claim.run_id, claim.fence, claim.resumed, facts), skeleton)
    leaving.obey_signals(context)
    try:
        _check_binary(context)
        adoption.take_over(context)
        _rounds(context)
    except Fenced:
        context.keeper.stop()
        raise
    except KeeperGone:
        context.lease.close()
        lapse(claim)
        raise
    except Leaving:
        context.lease.close()
        patient(lambda uow: run_execution.leave(uow, claim))
        raise
    except LOST:
        context.keeper.stop()
        raise
    except Exception as exc:
        context.keeper.stop()
        if not isinstance(exc, AppError):
            log.exception("runner_failed", run_id=claim.run_id)
        outcome.failed(context, _failure(exc))
    finally:
        context.close()
    run_results.store(claim.run_id)


def _check_binary(context: RunContext) -> None:
    """A state is never read by another flavour, nor by an older Terraform than wrote it. Raises RunFailed."""
    binary, facts = context.skeleton.binary, context.facts
    if not facts.servers:
        raise RunFailed("server_gone")
    if facts.flavour is None:
        patient(lambda uow: workspaces.fix_flavour(uow, facts.workspace_id, binary.flavour))
    elif facts.flavour != binary.flavour:
        raise RunFailed("terraform_flavour", wanted=facts.flavour, found=binary.flavour)
    if facts.terraform_version and states.numbers(binary.version) < states.numbers(facts.terraform_version):
        raise RunFailed("terraform_too_old", wanted=facts.terraform_version, found=binary.version)


def _rounds(context: RunContext) -> None:
    """Plan and apply, again when Terraform died, the lease was lost for a while or Proxmox went away, at most three times."""
    turn = phases.Turn()
    while turn.tried < phases.ROUNDS and turn.number < phases.TURNS:
        if context.reason == "lease":
            context.reason = None
            _wait_for_lease(context)
        result = phases.plan_and_apply(context, turn)
        if result == phases.DONE:
            return
        if result == phases.AGAIN:
            context.note("again", key=str(turn.number), reason=context.reason or "interrupted")
        turn = phases.Turn(turn.number + 1, turn.tried + (result == phases.AGAIN))
    raise RunFailed("terraform_dies", times=phases.ROUNDS)


def _wait_for_lease(context: RunContext) -> None:
    """After an outage the lease must be ours before anything is begun. Raises Fenced."""
    patient(lambda uow: run_execution.guard(uow, context.run_id, context.fence))


def _failure(exc: Exception) -> outcome.Failure:
    if isinstance(exc, RunFailed):
        return outcome.Failure(exc.code_, exc.args_, exc.detail)
    if isinstance(exc, AppError):
        return outcome.Failure(exc.code, exc.args_, exc.detail)
    # Copying a tree tells of all its files together, without a number.
    if isinstance(exc, OSError) and (exc.errno in _NO_ROOM or (isinstance(exc, shutil.Error) and any(os.strerror(n) in str(exc) for n in _NO_ROOM))):
        return outcome.Failure("work_disk_full", {}, str(exc))
    return outcome.Failure("internal_error", {}, type(exc).__name__)


def _fail_early(claim: Claim, exc: AppError) -> None:
    """End a run whose runner cannot even begin (no Terraform, no provider)."""
    error = {"code": exc.code, "args": exc.args_, "detail": exc.detail}
    patient(lambda uow: run_execution.end(uow, claim.run_id, claim.fence, RunState.ERRORED, {}, error))
    run_results.store(claim.run_id)


def lapse(claim: Claim) -> None:
    """Let the lease lapse at once, so that the next runner need not wait for it."""

    patient(lambda uow: run_execution.release(uow, claim))

