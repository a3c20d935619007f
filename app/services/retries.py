"""Asking once more for what a run that ended without success was asked for."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.domain.run_state import RunKind, RunState
from app.errors import Forbidden, NotFound, RunStateConflict
from app.models import Run, Server
from app.services import audit, completions, runs, servers
from app.services.actor import Actor
from app.services.servers import Accepted
from app.services.uow import UnitOfWork

UNSUCCESSFUL = frozenset({RunState.ERRORED, RunState.CANCELED, RunState.DISCARDED})
NEEDS = {RunKind.CREATE: Permission.CREATE, RunKind.CHANGE: Permission.CHANGE, RunKind.DELETE: Permission.DELETE}


def possible(session: Session, run: Run) -> bool:
    """True when the run can be asked for again as it is."""
    if run.state not in UNSUCCESSFUL or run.kind not in NEEDS:
        return False
    return run.kind != RunKind.CREATE or bool(completions.left(session, run))


def retry(uow: UnitOfWork, actor: Actor, run_id: int) -> Accepted:
    """Start a new run of the same intent, checked as any request. Raises RunStateConflict, NotFound and what those raise."""
    former = runs.get(uow.session, actor, run_id)
    if former.state not in UNSUCCESSFUL or former.kind not in NEEDS:
        raise RunStateConflict(state=former.state.value, wanted="retry")
    again = _create if former.kind == RunKind.CREATE else _change
    accepted = again(uow, actor, former)
    accepted.run.retry_of_id = former.id
    if volumes := former.intent.get("volumes"):
        # Disks that it took off, and whose volumes it may not have come to destroy.
        accepted.run.intent = {**accepted.run.intent, "volumes": volumes}
    runs.add_event(uow, accepted.run, "retry_of", "retry_of", other=former.id)
    runs.add_event(uow, former, f"retried:{accepted.run.id}", "retried", other=accepted.run.id, by=actor.username)
    return accepted


def _create(uow: UnitOfWork, actor: Actor, former: Run) -> Accepted:
    """Go on with the servers that are missing or half made, and with no other."""
    actor.need(Permission.CREATE)
    if former.created_by_id != actor.user_id and not actor.can(Permission.MANAGE_ALL):
        raise Forbidden(permission=Permission.MANAGE_ALL.value)
    completions.hold(uow, former.workspace_id)
    found = completions.left(uow.session, former)
    if not found:
        raise RunStateConflict(state=former.state.value, wanted="retry")
    run = servers.run_for(
        actor, former.workspace_id, RunKind.CREATE, [s.slug for s in found], [s.name for s in found], {"servers": {}}, former.apply_mode
    )
    uow.session.add(run)
    uow.session.flush()
    runs.add_event(uow, run, "requested", "requested", by=actor.username)
    for server in completions.take_up(uow, run, former):
        audit.record(
            uow, actor, "server.create", "server", server.id, server.name, run=run.id, retry_of=former.id, vmid=server.vmid, node=server.node_name
        )
    uow.session.flush()
    runs.promote(uow, run.workspace_id)
    uow.session.flush()
    return Accepted(run, list(run.names))


def _change(uow: UnitOfWork, actor: Actor, former: Run) -> Accepted:
    """Once more for the servers that did not get what was asked for."""
    done = set((former.result or {}).get("done", []))
    rest = {slug: name for slug, name in zip(former.targets, former.names, strict=True) if name not in done}
    if len(rest) == 1:
        return _change_one(uow, actor, former, *rest.popitem())
    query = select(Server).where(Server.workspace_id == former.workspace_id, Server.slug.in_(rest), Server.deleted_at.is_(None))
    found = servers.for_change(uow, actor, uow.session.scalars(query.order_by(Server.id)).all(), NEEDS[former.kind])
    if not found:
        raise NotFound(kind="server", name=former.names[0])
    if former.kind == RunKind.DELETE:
        run = servers.begin_delete(uow, actor, found, former.apply_mode, forget=bool(former.intent.get("forget")))
    else:
        run = servers.begin_change(uow, actor, {s: former.intent["servers"][s.slug] for s in found}, former.apply_mode)
    return Accepted(run, [s.name for s in found])


def _change_one(uow: UnitOfWork, actor: Actor, former: Run, slug: str, name: str) -> Accepted:
    query = select(Server).where(Server.workspace_id == former.workspace_id, Server.slug == slug, Server.deleted_at.is_(None))
    server = uow.session.scalar(query)
    if server is None:
        raise NotFound(kind="server", name=name)
    if former.kind == RunKind.DELETE:
        return servers.delete(uow, actor, name, {"confirm": name, "apply": former.apply_mode.value, "forget": bool(former.intent.get("forget"))})
    return servers.change(uow, actor, name, {**_asked(server, former.intent.get("servers", {}).get(slug, {})), "apply": former.apply_mode.value})


def _asked(server: Server, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a change's values as a request for them: lists of what is there and what is removed."""
    wanted = {k: v for k, v in values.items() if k not in ("disks", "nics")}
    if "disks" in values:
        after = {d["interface"]: d for d in values["disks"]}
        known = [d["interface"] for d in server.disks]
        rows = [after.get(d["interface"], d) for d in server.disks] + [d for d in values["disks"] if d["interface"] not in known]
        wanted["disks"] = [{"size_gib": d["size_gib"], "storage": d["storage"]} for d in rows]
        wanted["remove_disks"] = [name for name in known if name not in after]
    if "nics" in values:
        before, now = [n["ip"] for n in server.nics], [n["ip"] for n in values["nics"]]
        wanted["remove_networks"] = [f"net{index}" for index, ip in enumerate(before) if ip not in now]
        wanted["add_networks"] = [{"network": n["network"], "ip": n["ip"]} for n in values["nics"] if n["ip"] not in before]
    return wanted
