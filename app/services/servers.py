"""Servers: what may be asked for, and the run that a request becomes."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, joinedload

from app import tracing
from app.domain import server_spec
from app.domain.action_state import ActionKind
from app.domain.permissions import Permission
from app.domain.run_state import FINAL, ApplyMode, RunKind, RunState
from app.domain.server_status import ServerStatus
from app.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, ServerBusy
from app.log import get_logger
from app.models import Action, Guest, Reservation, Run, Server
from app.models.base import detached
from app.schemas.faults import field_errors
from app.schemas.servers import ServerChange, ServerCreate, ServerDelete
from app.services import audit, networks, run_settlement, runs, server_checks, server_devices, server_rows, workspaces
from app.services.actor import Actor
from app.services.batch import Batch, Taken
from app.services.server_checks import Wanted
from app.services.server_stock import Held
from app.services.uow import UnitOfWork

log = get_logger(__name__)
# Who got too little looks again alone, after those who have the rest have committed or given up.
_AFTER_OTHERS = text("select pg_advisory_xact_lock(77001, 1), pg_sleep(:pause_s)")
PAUSE_S = 0.01
TRIES = 8  # each of them loses only to a request that got what it wanted


class ServerNotReady(Conflict):
    """The server's VM was never finished: it can only be deleted."""

    code = "server_not_ready"


@dataclass(frozen=True)
class Accepted:
    """A request that became a run."""

    run: Run
    servers: list[str]


# ---------------------------------------------------------------- reading
def visible(query: Any, actor: Actor) -> Any:
    """Narrow a query over servers to what the actor may see."""
    query = query.where(Server.deleted_at.is_(None))
    return query if actor.can(Permission.VIEW_ALL) else query.where(Server.owner_id == actor.user_id)


def get(session: Session, actor: Actor, name: str) -> Server:
    """Return a server with owner, cluster and workspace. Raises NotFound, also for what the actor may not see."""
    query = visible(select(Server).where(Server.name == name), actor).order_by(Server.id)
    query = query.options(joinedload(Server.owner), joinedload(Server.cluster), joinedload(Server.workspace))
    server: Server | None = session.scalars(query).first()
    if server is None:
        raise NotFound(kind="server", name=name)
    return server


def alive(session: Session, actor: Actor, run: Run) -> set[str]:
    """Return the names of the run's servers that still exist and that the actor may open."""
    query = select(Server.name).where(Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets))
    return set(session.scalars(visible(query, actor)))


def seen_names(session: Session, actor: Actor, names: Collection[str]) -> set[str]:
    """Return those of the names that are of servers the actor may open."""
    return set(session.scalars(visible(select(Server.name).where(Server.name.in_(names)), actor)))


def next_name(session: Session, name: str) -> str:
    """Return the name for one more like this, which neither a server nor a guest has: web, web-1 and web-7 lead to web-8."""
    stem = re.sub(r"-\d+$", "", name)
    names = select(Server.name).where(Server.deleted_at.is_(None), Server.name.like(f"{stem}-%"))
    taken = session.scalars(names.union_all(select(Guest.name).where(Guest.name.like(f"{stem}-%"))))
    numbers = [int(found[1]) for t in taken if (found := re.fullmatch(re.escape(stem) + r"-(\d{1,6})", t))]
    tail = f"-{max(numbers, default=1) + 1}"
    return stem[: server_spec.NAME_BYTES - len(tail)].rstrip("-") + tail


def by_ids(session: Session, actor: Actor, ids: list[int]) -> list[Server]:
    """Return these servers, as far as the actor may see them, with their owners."""
    query = visible(select(Server).where(Server.id.in_(ids)), actor).options(joinedload(Server.owner))
    return list(session.scalars(query.order_by(Server.name)))


# ---------------------------------------------------------------- creating
def check(session: Session, actor: Actor, data: Mapping[str, Any]) -> list[FieldError]:
    """Return every fault of a request for servers, schema and database alike."""
    return server_checks.examine(session, data)[1]


def create(uow: UnitOfWork, actor: Actor, data: ServerCreate | Mapping[str, Any]) -> Accepted:
    """Reserve what the servers need and start a run that makes them. Raises Invalid with all faults together."""
    actor.need(Permission.CREATE)
    raw = data.model_dump(mode="json", exclude_unset=True) if isinstance(data, ServerCreate) else data
    for again in range(TRIES):
        if again:
            uow.session.execute(_AFTER_OTHERS, {"pause_s": PAUSE_S * again})
        wanted, found = server_checks.examine(uow.session, raw, hold=True)
        if found or wanted is None or wanted.held is None:
            raise Invalid(found)
        with suppress(Taken):
            return _write(uow, actor, wanted, wanted.held)
    if wanted is not None and (short := server_checks.shortage(wanted)):
        raise Invalid(short)
    raise Conflict("others took the same names or addresses, several times over")


def _write(uow: UnitOfWork, actor: Actor, wanted: Wanted, held: Held) -> Accepted:
    """Write everything about new servers in one statement. Raises Taken: somebody was faster, look again."""
    nics, vmids = _nics(wanted), [vmid for vmid in server_rows.vmids(wanted.each, held.vmids) if vmid]
    if len(vmids) < len(wanted.names):
        raise Taken
    rows, names = Batch(), wanted.names
    workspace = workspaces.new(held.workspace_id, held.project_id, wanted.cluster, wanted.request.name or names[0])
    run = run_for(actor, workspace.id, RunKind.CREATE, names, names, {"servers": {}}, wanted.request.apply)
    run.id = held.run_id
    rows.add(workspace)
    runs.begin(rows, run, actor.username)
    servers = [
        _row(wanted, index, vmid, nics[index], run, actor.user_id, workspaces.marker(held.installation, workspace.id, name))
        for index, (name, vmid) in enumerate(zip(names, vmids, strict=True))
    ]
    for server, server_id in zip(servers, held.server_ids, strict=True):
        server.id = server_id
        rows.add(server)
        for kind, scope, value in [("vmid", "", str(server.vmid))] + [("ip", networks.scope(n["bridge"], n["vlan"]), n["ip"]) for n in server.nics]:
            rows.put(Reservation, {"cluster_id": server.cluster_id, "kind": kind, "scope": scope, "value": value, "server_id": server.id})
        rows.add(audit.row(
            actor, "server.create", "server", server.id, server.name, run=run.id, template=server.template_name,
            cores=server.cores, memory_mib=server.memory_mib, vmid=server.vmid, node=server.node_name,
        ))  # fmt: skip
    runs.announce(uow, run, [actor.user_id])
    for server in servers:
        uow.publish("server", f"owner:{server.owner_id}", run_settlement.server_facts(server) | {"created": True})
    uow.write(rows, held.outbox_ids)
    log.info("run_transitioned", run_id=run.id, old=None, new=run.state.value, fence=run.fence)
    return Accepted(run, names)


def _nics(wanted: Wanted) -> list[list[dict[str, Any]]]:
    """Hand out the addresses; one list of NICs a server. Raises Taken."""
    given = server_rows.addresses(wanted.networks, wanted.each, wanted.addresses)
    if any(ip is None for ips in given for ip in ips):
        raise Taken
    return [server_devices.nics_of(wanted.networks, ips) for ips in given]


def _row(wanted: Wanted, index: int, vmid: int, nics: list[dict[str, Any]], run: Run, owner_id: int, marker: str) -> Server:
    request, choice, name, each = wanted.request, wanted.choices[index], wanted.names[index], wanted.each[index]
    return detached(Server, {
        "slug": name, "name": name, "workspace_id": run.workspace_id, "cluster_id": wanted.cluster.id, "owner_id": owner_id,
        "template_id": wanted.template.id, "template_name": wanted.template.name, "template_image": wanted.template.image, "marker": marker, "vmid": vmid, "node_name": choice.node,
        "status": ServerStatus.CREATING, "cores": each.cores, "memory_mib": each.memory_mib,
        "disks": [
            {"interface": interface, "storage": storage, "size_gib": disk.size_gib}
            for interface, storage, disk in zip(wanted.interfaces, choice.storages, each.disks, strict=True)
        ],
        "nics": nics, "username": request.username or wanted.template.username, "ssh_keys": request.ssh_keys or [],
        "tags": request.tags, "description": request.description, "agent": wanted.template.agent, "start_on_create": request.start,
        "ip_addresses": [n["ip"] for n in nics], "version": 1, "run_id": run.id, "busy_run_id": run.id,
    })  # fmt: skip


def run_for(
    actor: Actor, workspace_id: int, kind: RunKind, slugs: list[str], names: list[str], intent: dict[str, Any], mode: ApplyMode
) -> Run:
    """Return the row of a new run, not written yet."""
    return detached(Run, {
        "task_id": uuid4(), "workspace_id": workspace_id, "created_by_id": actor.user_id, "kind": kind, "state": RunState.PENDING,
        "apply_mode": mode, "intent": intent, "targets": slugs, "names": names,
        "progress_total": len(slugs), "activity": {}, "fence": 0, "resumes": 0, "progress_done": 0, "log_bytes": 0, "log_lines": 0, "version": 1,
        "origin": tracing.origin() or None,
    })  # fmt: skip


def _new_run(
    uow: UnitOfWork, actor: Actor, of: Collection[Server], kind: RunKind, intent: dict[str, Any], mode: ApplyMode, bulk_id: UUID | None, safe_change_id: UUID | None = None
) -> Run:
    workspace_id = next(iter(of)).workspace_id
    run = run_for(actor, workspace_id, kind, [s.slug for s in of], [s.name for s in of], intent, mode)
    run.bulk_id, run.safe_change_id = bulk_id, safe_change_id
    uow.session.add(run)
    uow.session.flush()
    runs.add_event(uow, run, "requested", "requested", by=actor.username)
    runs.promote(uow, workspace_id)
    uow.session.flush()
    return run


# ---------------------------------------------------------------- changing
def for_change(uow: UnitOfWork, actor: Actor, of: Sequence[Server], permission: Permission) -> list[Server]:
    """Return those of the servers that still exist, locked, as they are now. Raises Forbidden, ServerBusy when one is being deleted."""
    actor.need(permission)
    if any(s.owner_id != actor.user_id for s in of) and not actor.can(Permission.MANAGE_ALL):
        raise Forbidden(permission=Permission.MANAGE_ALL.value)
    query = select(Server).where(Server.id.in_([s.id for s in of]), Server.deleted_at.is_(None)).order_by(Server.id)
    locked = list(uow.session.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True)))
    for server in locked:
        for run in runs.open_runs(uow.session, server):
            if run.kind == RunKind.DELETE:
                raise ServerBusy(server=server.name, run=run.id, state=run.state.value)
    return locked


def _for_change(uow: UnitOfWork, actor: Actor, name: str, permission: Permission) -> Server:
    actor.need(permission)
    locked = for_change(uow, actor, [get(uow.session, actor, name)], permission)
    if not locked:
        raise NotFound(kind="server", name=name)
    return locked[0]


def pending_values(session: Session, server: Server) -> dict[str, Any]:
    """Return what the server will be once the runs before a new one have ended."""
    values = {k: getattr(server, k) for k in ("cores", "memory_mib", "disks", "nics", "tags", "description")}
    for run in runs.open_runs(session, server):
        values |= run.intent.get("servers", {}).get(server.slug, {})
    return values


def check_change(session: Session, server: Server, request: ServerChange) -> list[FieldError]:
    """Return the faults of a change that only the database knows."""
    return server_checks.examine_change(session, server, request, pending_values(session, server))[1]


def restart_needed(server: Server, request: ServerChange) -> bool:
    """True when the change restarts the server, which is running."""
    resized = (request.cores or server.cores) != server.cores or (request.memory_mib or server.memory_mib) != server.memory_mib
    return (resized or bool(request.add_networks or request.remove_networks)) and server.status == ServerStatus.RUNNING


def change(uow: UnitOfWork, actor: Actor, name: str, data: ServerChange | Mapping[str, Any]) -> Accepted:
    """Start a run that changes a server. Raises Invalid, ServerBusy, NotFound, Forbidden."""
    server = _for_change(uow, actor, name, Permission.CHANGE)
    try:
        request = data if isinstance(data, ServerChange) else ServerChange.model_validate(data)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc
    if rolling_back(uow.session, server):
        # Sizes and disks are checked against the row, which takes others in a moment.
        raise ServerBusy(server=server.name, action=server.busy_action_id)
    if server.status == ServerStatus.FAILED and not server.in_state:
        raise ServerNotReady(server=server.name)
    values, found = server_checks.examine_change(uow.session, server, request, pending_values(uow.session, server))
    if found:
        raise Invalid(found)
    if not server_devices.hold(uow, server, values):
        raise Invalid([FieldError("add_networks", "ip_taken")])
    return Accepted(begin_change(uow, actor, {server: values}, request.apply), [server.name])


def begin_change(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[Server, dict[str, Any]], mode: ApplyMode, bulk_id: UUID | None = None, safe_change_id: UUID | None = None
) -> Run:
    """Start a run of new values for locked servers of one workspace, which were checked."""
    run = _new_run(uow, actor, wanted, RunKind.CHANGE, {"servers": {s.slug: values for s, values in wanted.items()}}, mode, bulk_id, safe_change_id)
    for server, values in wanted.items():
        audit.record(uow, actor, "server.change", "server", server.id, server.name, run=run.id, **values)
        run_settlement.tell(uow, server)
    return run


def rolling_back(session: Session, server: Server) -> bool:
    """True while a snapshot is put back, or may yet be: what the row says then is true no longer."""
    if server.safe_change_id is not None:
        return True
    kind = select(Action.kind).where(Action.id == server.busy_action_id)
    return server.busy_action_id is not None and session.scalar(kind) == ActionKind.SNAPSHOT_ROLLBACK


def delete(uow: UnitOfWork, actor: Actor, name: str, data: ServerDelete | Mapping[str, Any]) -> Accepted:
    """Start a run that deletes a server; `confirm` must repeat its name. Raises Invalid, ServerBusy, NotFound."""
    server = _for_change(uow, actor, name, Permission.DELETE)
    try:
        request = data if isinstance(data, ServerDelete) else ServerDelete.model_validate(data)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc
    if request.confirm != server.name:
        raise Invalid([FieldError("confirm", "confirm_name", {"name": server.name})])
    return Accepted(begin_delete(uow, actor, [server], request.apply, forget=request.forget), [server.name])


def begin_delete(
    uow: UnitOfWork, actor: Actor, of: Collection[Server], mode: ApplyMode, bulk_id: UUID | None = None, *, forget: bool = False
) -> Run:
    """Start a run that deletes locked servers of one workspace."""
    known = {"forget": True} if forget else {}
    run = _new_run(uow, actor, of, RunKind.DELETE, {"servers": {}, **known}, mode, bulk_id)
    for server in of:
        server.status = ServerStatus.DELETING
        audit.record(uow, actor, "server.delete", "server", server.id, server.name, run=run.id, vmid=server.vmid, **known)
        run_settlement.tell(uow, server)
    return run


def history(session: Session, server: Server, limit: int = 20) -> list[Run]:
    """Return the runs that named the server, newest first, with their creators."""
    query = select(Run).where(Run.workspace_id == server.workspace_id, Run.targets.contains([server.slug]))
    return list(session.scalars(query.options(joinedload(Run.created_by)).order_by(Run.id.desc()).limit(limit)))


def unfinished(session: Session, server: Server) -> bool:
    """True while a run concerns the server."""
    return bool(session.scalar(select(func.count()).select_from(Run).where(
        Run.workspace_id == server.workspace_id, Run.state.not_in(FINAL), Run.targets.contains([server.slug]))))  # fmt: skip
