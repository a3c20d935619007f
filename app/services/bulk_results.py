"""How work on many servers goes, server by server, and who is told of its end. From rows: it outlives Redis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.domain import action_state, run_state
from app.domain.action_state import ActionState
from app.domain.permissions import Permission
from app.domain.run_state import RunState
from app.domain.server_status import Severity
from app.errors import NotFound
from app.models import Action, Bulk, Run, Server
from app.services import notifications
from app.services.actor import Actor
from app.services.uow import UnitOfWork

UNCHANGED = "nothing_to_change"


@dataclass(frozen=True)
class Item:
    """One server's part. `state` is a run's or an action's, "unchanged" or "refused"; `ok` is None while it is open."""

    server: str
    owner_id: int
    state: str
    ok: bool | None
    error: Mapping[str, Any] | None = None
    run_id: int | None = None
    task_id: UUID | None = None
    gone: bool = False
    finished_at: datetime | None = None


@dataclass(frozen=True)
class Result:
    """The whole of it; servers by name."""

    bulk: Bulk
    items: list[Item] = field(default_factory=list)

    @property
    def open(self) -> list[Item]:
        return [i for i in self.items if i.ok is None]

    @property
    def done(self) -> list[Item]:
        return [i for i in self.items if i.ok]

    @property
    def failed(self) -> list[Item]:
        return [i for i in self.items if i.ok is False]


def get(session: Session, actor: Actor, bulk_id: UUID) -> Result:
    """Return what became of it. Raises NotFound, also for somebody else's."""
    bulk = session.scalar(select(Bulk).where(Bulk.id == bulk_id).options(joinedload(Bulk.created_by)))
    if bulk is None or not (actor.can(Permission.VIEW_ALL) or bulk.created_by_id == actor.user_id):
        raise NotFound(kind="group")
    return Result(bulk, _items(session, bulk))


def _items(session: Session, bulk: Bulk) -> list[Item]:
    found = [_refused(row) for row in bulk.refused]
    actions = session.execute(
        select(Action, Server.name, Server.owner_id, Server.deleted_at).join(Server, Server.id == Action.server_id).where(Action.bulk_id == bulk.id)
    )
    found += [_of_action(action, name, owner_id, deleted_at is not None) for action, name, owner_id, deleted_at in actions]
    parts = session.execute(
        select(Run, Server.name, Server.owner_id, Server.deleted_at)
        .join(Server, (Server.workspace_id == Run.workspace_id) & Run.targets.op("?")(Server.slug)).where(Run.bulk_id == bulk.id)
    )  # fmt: skip
    found += [_of_run(run, name, owner_id, deleted_at is not None) for run, name, owner_id, deleted_at in parts]
    return sorted(found, key=lambda item: (item.server, item.run_id or 0))


def _refused(row: Mapping[str, Any]) -> Item:
    unchanged = row["code"] == UNCHANGED
    error = None if unchanged else {"code": row["code"], "args": row["args"]}
    return Item(row["server"], row["owner"], "unchanged" if unchanged else "refused", unchanged, error)


def _of_action(action: Action, name: str, owner_id: int, gone: bool) -> Item:
    ok = action.state == ActionState.SUCCEEDED if action.state in action_state.FINAL else None
    return Item(name, owner_id, action.state.value, ok, action.error, None, action.task_id, gone, action.finished_at)


def _of_run(run: Run, name: str, owner_id: int, gone: bool) -> Item:
    """A run that failed has done what was asked to some of its servers all the same."""
    if run.state not in run_state.FINAL:
        return Item(name, owner_id, run.state.value, None, None, run.id, run.task_id, gone)
    done = run.state in run_state.GOOD or name in (run.result or {}).get("done", [])
    state = run.state if run.state in run_state.GOOD or not done else RunState.APPLIED
    return Item(name, owner_id, state.value, done, None if done else run.error, run.id, run.task_id, gone, run.finished_at)


def tell_end(uow: UnitOfWork, bulk_id: UUID) -> None:
    """When no part is open any more: one notification for the requester and each owner, told once."""
    uow.session.flush()
    # Locked, so that of two parts that end together one sees the other's end.
    bulk = uow.session.scalars(
        select(Bulk).where(Bulk.id == bulk_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()
    if bulk is None:
        return
    items = _items(uow.session, bulk)
    if any(item.ok is None for item in items):
        return
    for user_id in {bulk.created_by_id, *(i.owner_id for i in items)}:
        mine = [i for i in items if user_id in (bulk.created_by_id, i.owner_id)]
        failed = [i.server for i in mine if not i.ok]
        done = [i.server for i in mine if i.ok]
        if len(mine) == 1:
            code = "action_succeeded" if done else "action_failed"
        else:
            code = "actions_failed" if not done else "actions_partly_failed" if failed else "actions_succeeded"
        link = f"/servers/bulk/{bulk_id}" if user_id == bulk.created_by_id else "/servers"
        notifications.add(
            uow, [user_id], f"group:{bulk_id}:end", code,
            {"servers": [i.server for i in mine], "action": bulk.kind.value, "done": len(done), "failed": failed},
            Severity.ERROR if failed else Severity.SUCCESS, link, own_user_id=bulk.created_by_id,
        )  # fmt: skip
