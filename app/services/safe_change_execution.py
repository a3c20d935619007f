"""Taking a safe change from part to part.

A bell rings when a part ends, and the sweeper rings when none did: whoever comes looks at the rows, and begins what
follows in the same transaction as the step is noted, so that a part is begun once whoever dies. Asking whether the server
answers happens outside a transaction, by one at a time.
"""

import socket
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload

from app.adapters import results
from app.domain import action_state, run_state
from app.domain.action_state import ActionState
from app.domain.run_state import ApplyMode
from app.domain.safe_change import FINAL, SafeChangeState, VerifyBy, pause_s
from app.domain.server_status import ServerStatus, Severity
from app.domain.tasks import TaskName
from app.errors import AppError, ProxmoxError
from app.log import get_logger
from app.models import Action, Cluster, Run, SafeChange, Server
from app.services import (
    actions,
    clock,
    clusters,
    notifications,
    pause,
    run_settlement,
    runs,
    safe_change_parts,
    safe_changes,
    servers,
)
from app.services.actor import Actor
from app.services.safe_change_parts import KINDS
from app.services.uow import UnitOfWork, in_peace

log = get_logger(__name__)
S = SafeChangeState
ANSWER_S = 5.0  # how long one try waits for an answer
ASKED_S = 30.0  # whoever asks and dies is followed by another after so long


@dataclass(frozen=True)
class Question:
    """One try: what is asked, by whom it may be answered only (`tries`)."""

    safe_change_id: UUID
    tries: int
    by: VerifyBy
    address: str | None
    port: int | None
    cluster: Cluster
    node: str
    vmid: int


def execute(safe_change_id: str) -> None:
    """Take it as far as it goes now."""
    wanted = UUID(safe_change_id)
    question, row = in_peace(lambda uow: _go_on(uow, wanted))
    if question is not None:
        error = _ask(question)
        question, row = in_peace(lambda uow, asked=question: _answered(uow, asked, error))  # type: ignore[misc]  # bound now
    if row is not None and row.state in FINAL:
        _store(row)


def due() -> Select[Any]:
    """Those that nobody has looked at for a while, or whose next question is due."""
    return select(SafeChange).where(SafeChange.finished_at.is_(None), SafeChange.next_at < func.clock_timestamp())


def sweep(uow: UnitOfWork) -> None:
    """Ring for those that are due."""
    first = due().order_by(SafeChange.next_at).limit(100)
    for row in uow.session.scalars(first.with_for_update(key_share=True, skip_locked=True)):
        # A question that is due stays due until somebody takes it.
        if row.state != S.VERIFY:
            row.next_at = clock.later(safe_changes.LOOK_AGAIN_S)
        uow.ring(TaskName.SAFE_CHANGE, [row.id], row.id)


# ---- from part to part
def _locked(uow: UnitOfWork, safe_change_id: UUID) -> SafeChange | None:
    query = select(SafeChange).where(SafeChange.id == safe_change_id, SafeChange.finished_at.is_(None))
    whole = query.options(joinedload(SafeChange.created_by, innerjoin=True), joinedload(SafeChange.server, innerjoin=True))
    return uow.session.scalar(whole.with_for_update(of=SafeChange))


def _go_on(uow: UnitOfWork, safe_change_id: UUID) -> tuple[Question | None, SafeChange | None]:
    row = None if pause.paused(uow.session) else _locked(uow, safe_change_id)
    if row is None:
        return None, None
    before = row.version
    while _step(uow, row):
        pass
    if row.version != before:
        _tell(uow, row)
    return (_question(uow, row) if row.state == S.VERIFY else None), row


def _step(uow: UnitOfWork, row: SafeChange) -> bool:
    """Do what is to be done in this state; True when it came to another one that may go on at once."""
    if row.state in FINAL or row.state == S.VERIFY:
        return False
    if row.state == S.CHANGE:
        return _changing(uow, row)
    if row.state == S.CLEAN_UP and row.keep_snapshot:
        return _end(uow, row, _outcome(uow, row), row.error)
    action = safe_change_parts.action_of(uow.session, row, row.state)
    if action is None:
        return _begin(uow, row)
    if action.state not in action_state.FINAL:
        return False
    return _after(uow, row, action)


def _begin(uow: UnitOfWork, row: SafeChange) -> bool:
    server = _server(uow, row)
    if server is None:
        return _end(uow, row, S.FAILED, {"code": "server_gone", "args": {}})
    if server.busy_action_id is not None or server.busy_run_id is not None:
        return False  # the part before it has ended, and lets go of the server in a moment
    if row.state == S.START and server.status == ServerStatus.RUNNING:
        return _back(uow, row)
    arguments = {} if row.state == S.START else {"name": row.snapshot}
    actions.begin(uow, Actor.of(row.created_by), server, KINDS[row.state], arguments, safe_change_id=row.id)
    return False


def _after(uow: UnitOfWork, row: SafeChange, action: Action) -> bool:
    """An action has ended."""
    ok, error = action.state == ActionState.SUCCEEDED, dict(action.error or {"code": "action_task_failed", "args": {}})
    error.pop("detail", None)
    match row.state:
        case S.SNAPSHOT if ok:
            safe_changes.move(row, S.CHANGE)
        case S.SNAPSHOT:
            return _end(uow, row, S.FAILED, error)
        case S.ROLL_BACK if ok and not row.memory:
            safe_changes.move(row, S.START)
        case S.ROLL_BACK | S.START if ok:
            return _back(uow, row)
        case S.ROLL_BACK:
            return _end(uow, row, S.FAILED, {"code": "safe_change_not_back", "args": {"snapshot": row.snapshot}})
        case S.START:
            return _end(uow, row, S.FAILED, {"code": "safe_change_back_but_off", "args": {}})
        case _:  # the snapshot that could not be deleted stays; what was asked for is done all the same
            return _end(uow, row, _outcome(uow, row), row.error)
    return True


def _back(uow: UnitOfWork, row: SafeChange) -> bool:
    """The server is as it was."""
    safe_changes.move(row, S.CLEAN_UP)
    return True


def _outcome(uow: UnitOfWork, row: SafeChange) -> SafeChangeState:
    if row.error is None:
        return S.KEPT
    return S.ROLLED_BACK if safe_change_parts.action_of(uow.session, row, S.ROLL_BACK) is not None else S.FAILED


def _changing(uow: UnitOfWork, row: SafeChange) -> bool:
    run = safe_change_parts.run_of(uow.session, row)
    if run is None:
        server = _server(uow, row)
        if server is None:
            return _end(uow, row, S.FAILED, {"code": "server_gone", "args": {}})
        servers.begin_change(uow, Actor.of(row.created_by), {server: row.values}, ApplyMode(row.apply), safe_change_id=row.id)
        return False
    if run.state not in run_state.FINAL:
        return False
    if run.state in run_state.GOOD:
        safe_changes.move(row, S.VERIFY)
        row.verify_at = clock.now(uow.session)
        row.next_at = row.verify_at
        return True
    row.error = _why(run)
    # What has not begun to change needs no way back.
    safe_changes.move(row, S.ROLL_BACK if run.apply_started_at is not None else S.CLEAN_UP)
    return True


def _why(run: Run) -> dict[str, Any]:
    error = dict(run.error) if run.error else {"code": {"canceled": "run_canceled", "discarded": "run_discarded"}.get(run.state.value, "run_errored"), "args": {"servers": run.names}}
    error.pop("detail", None)
    return error


def _server(uow: UnitOfWork, row: SafeChange) -> Server | None:
    try:
        return actions.locked(uow, [row.server_id])[0]
    except AppError:
        return None


# ---- whether the server answers
def _question(uow: UnitOfWork, row: SafeChange) -> Question | None:
    """Take the next try when it is due and nobody has it."""
    now = clock.now(uow.session)
    uow.session.flush()
    uow.session.refresh(row, ["next_at"])
    if row.next_at is not None and row.next_at > now:
        return None
    row.tries += 1
    row.next_at = clock.later(ASKED_S)
    row.version += 1
    cluster = uow.session.get_one(Cluster, row.server.cluster_id)
    return Question(row.id, row.tries, row.verify_by, safe_changes.address(row.server), row.port, cluster, row.server.node_name, row.server.vmid)


def _ask(question: Question) -> dict[str, Any] | None:
    """Return None when the server answers, else what was heard instead."""
    if question.by == VerifyBy.PORT:
        where = {"address": question.address or "", "port": question.port or 0}
        try:
            with socket.create_connection((question.address or "", question.port or 0), timeout=ANSWER_S):
                return None
        except OSError as exc:
            return {"code": "safe_change_port_silent", "args": {**where, "reason": exc.strerror or "no answer"}}
    try:
        with clusters.connection(question.cluster) as proxmox:
            return None if proxmox.agent_answers(question.node, question.vmid) else {"code": "safe_change_agent_silent", "args": {}}
    except ProxmoxError as exc:
        return {"code": exc.code, "args": dict(exc.args_)}


def _answered(uow: UnitOfWork, question: Question, error: dict[str, Any] | None) -> tuple[None, SafeChange | None]:
    row = _locked(uow, question.safe_change_id)
    if row is None or row.state != S.VERIFY or row.tries != question.tries:
        return None, row
    row.last_answer = error
    now = clock.now(uow.session)
    waited_s = (now - (row.verify_at or now)).total_seconds()
    if error is None:
        safe_changes.verified(uow, row, None)
    elif waited_s >= row.timeout_s:
        safe_changes.verified(uow, row, {"code": "safe_change_silent", "args": {"seconds": row.timeout_s, "tries": row.tries}})
    else:
        row.next_at = clock.later(min(pause_s(row.tries), max(row.timeout_s - waited_s, 0)))
        row.version += 1
    while _step(uow, row):
        pass
    _tell(uow, row)
    return None, row


# ---- the end
def _end(uow: UnitOfWork, row: SafeChange, state: SafeChangeState, error: dict[str, Any] | None) -> bool:
    row.state, row.error, row.finished_at, row.next_at = state, error, clock.now(uow.session), None
    row.version += 1
    server = _server(uow, row)
    if server is not None:
        server.safe_change_id = None
        server.version += 1
        run_settlement.tell(uow, server)
        uow.session.flush()
        runs.promote(uow, server.workspace_id)
    log.info("safe_change_ended", safe_change_id=str(row.id), state=state.value, code=error["code"] if error else None)
    severity = {S.KEPT: Severity.SUCCESS, S.ROLLED_BACK: Severity.WARNING}.get(state, Severity.ERROR)
    notifications.add(
        uow, {row.created_by_id, row.server.owner_id}, f"safe_change:{row.id}:end", f"safe_change_{state.value}", {"servers": [row.server.name], "error": error},
        severity, f"/safe_changes/{row.id}", own_user_id=row.created_by_id,
    )  # fmt: skip
    return False


def _tell(uow: UnitOfWork, row: SafeChange) -> None:
    safe_changes.publish(uow, row, row.server)


def _store(row: SafeChange) -> None:
    results.store(row.id, row.state == S.KEPT, {"server": row.server.name, "state": row.state.value, "error": row.error})
