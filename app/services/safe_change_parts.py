"""The parts of a safe change as rows show them: an action of each kind, one run, and the look in between."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain import action_state, run_state
from app.domain.action_state import ActionKind, ActionState
from app.domain.safe_change import BACK, FINAL, FORWARD, SafeChangeState
from app.models import Action, Run, SafeChange

S = SafeChangeState
KINDS: dict[SafeChangeState, ActionKind] = {
    S.SNAPSHOT: ActionKind.SNAPSHOT_CREATE, S.ROLL_BACK: ActionKind.SNAPSHOT_ROLLBACK, S.START: ActionKind.START, S.CLEAN_UP: ActionKind.SNAPSHOT_DELETE,
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """`status` is waiting, working, done or failed; times are None where it has not come to that."""

    state: SafeChangeState
    status: str
    task_id: UUID | None = None
    run_id: int | None = None
    error: dict[str, Any] | None = None
    begun: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class Shown:
    """A safe change with its parts: those that were, and those that are hoped for."""

    row: SafeChange
    parts: list[Part]

    @property
    def run_id(self) -> int | None:
        return next((part.run_id for part in self.parts if part.run_id), None)


def action_of(session: Session, row: SafeChange, state: SafeChangeState) -> Action | None:
    """Return the action that this part is."""
    return session.scalar(select(Action).where(Action.safe_change_id == row.id, Action.kind == KINDS[state]))


def run_of(session: Session, row: SafeChange) -> Run | None:
    """Return the run that changes the server."""
    return session.scalar(select(Run).where(Run.safe_change_id == row.id))


def shown(session: Session, row: SafeChange) -> Shown:
    """Return the parts in their order; in two statements."""
    actions = {a.kind: a for a in session.scalars(select(Action).where(Action.safe_change_id == row.id))}
    parts = {state: _of_action(state, actions.get(kind)) for state, kind in KINDS.items()}
    parts[S.CHANGE] = _of_run(run_of(session, row))
    parts[S.VERIFY] = _verify(row)
    ahead = [*FORWARD, *([] if row.keep_snapshot else [S.CLEAN_UP])]
    was = [state for state in (*FORWARD, *BACK, S.CLEAN_UP) if parts[state].status != "waiting" or state == row.state]
    wanted = ahead if row.state not in FINAL and row.error is None else []
    return Shown(row, [parts[state] for state in (*FORWARD, *BACK, S.CLEAN_UP) if state in was or state in wanted])


def _of_action(state: SafeChangeState, action: Action | None) -> Part:
    if action is None:
        return Part(state, "waiting")
    ended = action.state in action_state.FINAL
    status = "done" if action.state == ActionState.SUCCEEDED else "failed" if ended else "working"
    return Part(state, status, action.task_id, None, action.error, action.created_at, action.finished_at if ended else None)


def _of_run(run: Run | None) -> Part:
    if run is None:
        return Part(S.CHANGE, "waiting")
    status = "done" if run.state in run_state.GOOD else "failed" if run.state in run_state.FINAL else "working"
    return Part(S.CHANGE, status, run.task_id, run.id, run.error, run.created_at, run.finished_at)


def _verify(row: SafeChange) -> Part:
    if row.verify_at is None:
        return Part(S.VERIFY, "waiting")
    if row.state == S.VERIFY:
        return Part(S.VERIFY, "working", begun=row.verify_at)
    return Part(S.VERIFY, "done" if row.error is None else "failed", begun=row.verify_at, ended=row.verified_at)
