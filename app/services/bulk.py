"""The same work on many servers: what it would do to each, and asking for it.

Power and snapshots become an action of each server, tags and deletion one run of each workspace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.adapters import results
from app.domain import bulk as domain
from app.domain.action_state import FINAL
from app.domain.bulk import MAX_NAMES, RUNS, BulkKind, Left, Subject
from app.domain.permissions import Permission
from app.domain.run_state import RunKind
from app.errors import FieldError, Invalid
from app.models import Action, Bulk, Run, Server
from app.schemas.bulk import BulkWork
from app.services import actions, approvals, bulk_results, runs, servers
from app.services.actor import Actor
from app.services.bulk_results import UNCHANGED
from app.services.uow import UnitOfWork

NEEDS = {BulkKind.SNAPSHOT: Permission.SNAPSHOT, BulkKind.TAG: Permission.CHANGE, BulkKind.DELETE: Permission.DELETE}


def needs(kind: BulkKind) -> Permission:
    """Return the permission that such work takes."""
    return NEEDS.get(kind, Permission.POWER)


@dataclass(frozen=True)
class Part:
    """What would become of one server; `left` says why nothing does. `waits` tells who decides on its plan first."""

    server: Server
    left: Left | None = None
    waits: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Started:
    """What was begun: actions or runs."""

    bulk: Bulk
    actions: list[Action] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def task_ids(self) -> list[UUID]:
        return [a.task_id for a in self.actions] + [r.task_id for r in self.runs]


# ---- looking
def preview(session: Session, actor: Actor, names: Sequence[str], kind: BulkKind) -> list[Part]:
    """Return what the work would do, in the order of names. Raises Invalid for names that are none, Forbidden."""
    actor.need(needs(kind))
    rules: dict[int, Mapping[str, Any] | None] = {}
    parts = []
    for server in _found(session, actor, names):
        left = _left(kind, server)
        if left is None and kind in RUNS and server.workspace_id not in rules:
            rules[server.workspace_id] = approvals.forewarning(session, actor, RUNS[kind], server.workspace_id)
        parts.append(Part(server, left, rules.get(server.workspace_id)))
    return parts


def _found(session: Session, actor: Actor, names: Sequence[str]) -> list[Server]:
    """Return the servers. Raises Invalid with every name that is not there or not allowed."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        raise Invalid([FieldError("names", "missing")])
    if len(wanted) > MAX_NAMES:
        raise Invalid([FieldError("names", "too_long", {"max_length": MAX_NAMES})])
    query = servers.visible(select(Server).where(Server.name.in_(wanted)), actor)
    there = {s.name: s for s in session.scalars(query.options(joinedload(Server.workspace)).order_by(Server.id.desc()))}
    every, faults = actor.can(Permission.MANAGE_ALL), []
    for index, name in enumerate(wanted):
        if name not in there:
            faults.append(FieldError(f"names.{index}", "server_unknown", {"server": name[:80]}))
        elif not every and there[name].owner_id != actor.user_id:
            faults.append(FieldError(f"names.{index}", "server_forbidden", {"server": name, "permission": Permission.MANAGE_ALL.value}))
    if faults:
        raise Invalid(faults)
    return sorted(there.values(), key=lambda s: s.name)


def _left(kind: BulkKind, server: Server) -> Left | None:
    return domain.left_out(kind, Subject(server.status, actions.made(server), server.busy))


# ---- asking
def start(uow: UnitOfWork, actor: Actor, names: Sequence[str], work: BulkWork) -> Started:
    """Ask for the work on every server. Raises Invalid with every name that is not there or not allowed, Forbidden.

    A server that cannot take it now does not stop the others: its part ends failed at once.
    """
    actor.need(needs(work.action))
    found = _found(uow.session, actor, names)
    if work.action == BulkKind.DELETE and work.confirm != domain.sure(len(found)):
        raise Invalid([FieldError("confirm", "confirm_name", {"name": domain.sure(len(found))})])
    if work.action == BulkKind.TAG and not (work.add or work.remove):
        raise Invalid([FieldError("add", "bulk_no_tags")])
    bulk = Bulk(id=uuid4(), created_by_id=actor.user_id, kind=work.action, arguments=work.arguments(), refused=[])
    uow.session.add(bulk)
    uow.session.flush()
    begin = _begin_runs if work.action in RUNS else _begin_actions
    started = begin(uow, actor, bulk, found, work)
    bulk_results.tell_end(uow, bulk.id)
    return started


def announce(started: Started) -> None:
    """After the commit: let Celery know the group, and the results of those that ended at once. Best effort."""
    if started.task_ids and results.save_group(started.bulk.id, started.task_ids):
        for action in started.actions:
            if action.state in FINAL:
                results.store(action.task_id, False, {"error": action.error})


def _begin_actions(uow: UnitOfWork, actor: Actor, bulk: Bulk, found: Sequence[Server], work: BulkWork) -> Started:
    kind, arguments = domain.action_of(work.action), work.arguments()
    begun = [actions.begin(uow, actor, server, kind, arguments, bulk.id) for server in actions.locked(uow, [s.id for s in found])]
    return Started(bulk, begun)


def _begin_runs(uow: UnitOfWork, actor: Actor, bulk: Bulk, found: Sequence[Server], work: BulkWork) -> Started:
    begun, refused = [], []
    locked = sorted(actions.locked(uow, [s.id for s in found]), key=lambda s: (s.workspace_id, s.id))
    for _, group in groupby(locked, key=lambda s: s.workspace_id):
        asked: dict[Server, dict[str, Any]] = {}
        for server in group:
            values, fault = _wanted(uow, server, work)
            if fault:
                refused.append({"server": server.name, "id": server.id, "owner": server.owner_id, "code": fault.code, "args": dict(fault.args)})
            else:
                asked[server] = values
        if asked:
            begin = servers.begin_delete if RUNS[work.action] == RunKind.DELETE else servers.begin_change
            begun.append(begin(uow, actor, asked, work.apply, bulk.id))
    bulk.refused = refused
    return Started(bulk, runs=begun)


def _wanted(uow: UnitOfWork, server: Server, work: BulkWork) -> tuple[dict[str, Any], Left | None]:
    """Return the values of a server's part of a run, or why it has none."""
    if left := _left(work.action, server):
        return {}, left
    if any(run.kind == RunKind.DELETE for run in runs.open_runs(uow.session, server)):
        return {}, Left("bulk_deleting")
    if work.action == BulkKind.DELETE:
        return {}, None
    if servers.rolling_back(uow.session, server):
        return {}, Left("bulk_busy")
    now = servers.pending_values(uow.session, server)["tags"]
    tags = domain.tagged(now, work.add, work.remove)
    return ({"tags": tags}, None) if tags != now else ({}, Left(UNCHANGED))
