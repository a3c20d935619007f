"""What the clusters report, kept in rows: one /cluster/resources call per cluster and poll, changed rows only.

Whoever wins the conditional UPDATE polls; two beats, two workers or a person pressing "refresh" do no harm.
"""

import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.adapters.crypto import Undecryptable
from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.trust import pinned_pem
from app.adapters.proxmox.types import BridgeInfo, Config, GuestResource, Resources
from app.domain import vm_config
from app.errors import AppError, ProxmoxError, ProxmoxNotFound, ProxmoxUnreachable
from app.extensions import db
from app.log import get_logger
from app.models import Bridge, Cluster, Guest, Node, Template
from app.services import capacity, clusters, inventory_rows, inventory_servers, inventory_templates, usage
from app.services.cluster_connection import failure_code
from app.services.uow import UnitOfWork, unit_of_work

log = get_logger(__name__)
DUE_S = 8
DOUBLINGS = 2  # a cluster that does not answer is asked half as often after each time, down to a fourth
CONFIG_AGE_S = 600
# Bounds of one poll: what is left over comes with the next ones.
CONFIGS, NODES, AGENTS = 400, 8, 20
DETAILS_S = 4.0
# Bridges seldom change: each node is asked every fifth minute; an agent whose answer is known, every minute.
PERIOD_S, BRIDGES_EVERY, AGENTS_EVERY = 10, 30, 6
ONLINE = "online"


@dataclass
class _Found:
    """What one poll learnt from Proxmox."""

    resources: Resources
    release: str = ""
    ca_pem: str | None = None
    bridges: dict[str, list[BridgeInfo]] = field(default_factory=dict)
    configs: dict[int, Config] = field(default_factory=dict)
    agent: dict[int, list[str]] = field(default_factory=dict)


def poll_all() -> int:
    """Poll every cluster that is due; returns how many were polled."""
    with Session(db.engine) as session:
        ids = [c.id for c in clusters.connected(session)]
    return sum(poll(cluster_id) for cluster_id in ids)


def poll(cluster_id: int, due_s: float = DUE_S) -> bool:
    """Ask one cluster and write what changed. False when somebody else does, or it is not due."""
    begun_at = _claim(cluster_id, due_s)
    if begun_at is None:
        return False
    try:
        found = _ask(cluster_id)
    except ProxmoxError as exc:
        log.warning("cluster_not_read", cluster_id=cluster_id, code=exc.code, reason=str(exc.args_.get("reason", "")))
        _write_failure(cluster_id, begun_at, failure_code(exc), exc)
        return True
    except Undecryptable as exc:
        _write_failure(cluster_id, begun_at, exc.code, exc)
        return True
    _write(cluster_id, begun_at, found)
    return True


def guests_at(session: Session, cluster_id: int, vmids: Iterable[int]) -> dict[int, Guest]:
    """Return the guests with these VMIDs, as last polled."""
    stmt = select(Guest).where(Guest.cluster_id == cluster_id, Guest.vmid.in_(list(vmids)))
    return {g.vmid: g for g in session.scalars(stmt)}


def _claim(cluster_id: int, due_s: float) -> datetime | None:
    rest_s = due_s * func.power(2, func.least(Cluster.failures, DOUBLINGS))
    old = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, rest_s)
    with db.engine.begin() as conn:
        return conn.execute(
            update(Cluster)
            .where(Cluster.id == cluster_id, Cluster.enabled)
            .where(or_(Cluster.poll_begun_at.is_(None), Cluster.poll_begun_at < old))
            .values(poll_begun_at=func.clock_timestamp())
            .returning(Cluster.poll_begun_at)
        ).scalar()


# ---- asking: no transaction is open meanwhile
def _ask(cluster_id: int) -> _Found:
    with Session(db.engine, expire_on_commit=False) as session:
        cluster = session.get_one(Cluster, cluster_id)
        way, release, was_online = clusters.access(cluster), cluster.release, cluster.status == ONLINE
        lacks_pem = bool(cluster.fingerprint) and not cluster.ca_pem
    with ProxmoxClient(way) as proxmox:
        found = _Found(proxmox.resources())
        found.release = release if release and was_online else proxmox.version()
        if lacks_pem and way.fingerprint:
            found.ca_pem = pinned_pem(way.url, way.fingerprint)
        with Session(db.engine, expire_on_commit=False) as session:
            nodes = _nodes_to_ask(session, cluster_id, found.resources)
            guests = _configs_to_read(session, cluster_id, found.resources)
            agents = inventory_servers.agent_candidates(session, cluster_id, found.resources)
        for node in nodes:
            _quietly(lambda n=node: found.bridges.__setitem__(n, proxmox.bridges(n)))
        end = time.monotonic() + DETAILS_S
        for guest in guests:
            if time.monotonic() > end:
                break
            _quietly(lambda g=guest: found.configs.__setitem__(g.vmid, _config(proxmox, g)))
        for server, guest in agents[:AGENTS]:
            if not server.ip_addresses or _turn(server.id, AGENTS_EVERY):
                _quietly(lambda g=guest: found.agent.__setitem__(g.vmid, proxmox.agent_addresses(g.node_name, g.vmid)))
    return found


def _turn(number: int, every: int) -> bool:
    """True in one of `every` polls, for different numbers in different ones."""
    return int(time.time() // PERIOD_S) % every == number % every


def _quietly(call: Any) -> None:
    """A detail that cannot be read now is read by a later poll; only a cluster that went away ends this one."""
    try:
        call()
    except ProxmoxUnreachable as exc:
        if exc.code == ProxmoxUnreachable.code and exc.args_.get("reason") != "timeout":
            raise
    except ProxmoxError as exc:
        log.info("detail_not_read", code=exc.code, reason=str(exc.args_.get("reason", "")))


def _config(proxmox: ProxmoxClient, guest: GuestResource) -> Config:
    try:
        read = proxmox.vm_config if guest.kind == "qemu" else proxmox.container_config
        return read(guest.node_name, guest.vmid)
    except ProxmoxNotFound:
        return {}  # gone or moved since the list was made


def _nodes_to_ask(session: Session, cluster_id: int, resources: Resources) -> list[str]:
    known = set(session.scalars(select(Bridge.node_name).where(Bridge.cluster_id == cluster_id).distinct()))
    online = [n.name for n in resources.nodes if n.online]
    return [n for n in online if n not in known or _turn(zlib.crc32(n.encode()), BRIDGES_EVERY)][:NODES]


def _configs_to_read(session: Session, cluster_id: int, resources: Resources) -> list[GuestResource]:
    """Guests that are new or look different come first, then those read longest ago."""
    old = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, CONFIG_AGE_S)
    rows = session.execute(
        select(Guest.vmid, Guest.name, Guest.status, Guest.node_name, Guest.template, Guest.lock, Guest.config_read_at,
               or_(Guest.config_read_at.is_(None), Guest.config_read_at < old).label("stale"))
        .where(Guest.cluster_id == cluster_id)
    )  # fmt: skip
    known = {r.vmid: r for r in rows}
    templates = set(session.scalars(select(Template.vmid).where(Template.cluster_id == cluster_id)))
    online = {n.name for n in resources.nodes if n.online}
    first, later = [], []
    for guest in resources.guests:
        row = known.get(guest.vmid)
        if guest.node_name not in online or guest.lock in ("clone", "create"):
            continue  # while it is being made its config says nothing yet
        if (
            row is None
            or row.config_read_at is None
            or (guest.template and guest.vmid not in templates)
            or (guest.name, guest.status, guest.template) != (row.name, row.status, row.template)
            or row.lock in ("clone", "create")
        ):
            first.append((not guest.template, guest.vmid, guest))
        elif row.stale:
            later.append((row.config_read_at, guest.vmid, guest))
    return [g for *_, g in [*sorted(first, key=lambda f: f[:2]), *sorted(later, key=lambda f: f[:2])]][:CONFIGS]


# ---- writing
def _write(cluster_id: int, begun_at: datetime, found: _Found) -> None:
    with unit_of_work() as uow:
        cluster = _mine(uow, cluster_id, begun_at)
        if cluster is None:
            return
        now = uow.session.scalar(select(func.clock_timestamp()))
        read = {
            vmid: {"ip_addresses": vm_config.static_addresses(c), "marker": vm_config.marker(c), "config_read_at": now}
            for vmid, c in found.configs.items()
            if c
        }
        first = cluster.polled_at is None
        nodes = inventory_rows.write_nodes(uow.session, cluster_id, found.resources)
        storages = inventory_rows.write_storages(uow.session, cluster_id, found.resources)
        inventory_rows.write_bridges(uow.session, cluster_id, found.bridges)
        guests = inventory_rows.write_guests(uow.session, cluster_id, found.resources, read)
        templates = inventory_templates.write_templates(uow.session, cluster, found.resources, found.configs)
        servers = inventory_servers.write_servers(uow, cluster_id, found.resources, found.agent)
        uow.session.flush()
        capacity.sample(uow, cluster_id)
        usage.sample(uow, cluster_id)
        back = cluster.status != ONLINE
        cluster.polled_at, cluster.status, cluster.status_detail, cluster.status_args = now, ONLINE, "", {}
        cluster.failures = 0
        cluster.release, cluster.ca_pem = found.release[:32], found.ca_pem or cluster.ca_pem
        if back or first or nodes or storages or guests or templates:
            _tell(uow, cluster, nodes, storages, guests=bool(guests), templates=templates)
        if servers or nodes.added or nodes.removed:
            log.info("inventory_changed", cluster_id=cluster_id, servers=len(servers), guests=len(guests.changed))


def _write_failure(cluster_id: int, begun_at: datetime, code: str, exc: AppError) -> None:
    with unit_of_work() as uow:
        cluster = _mine(uow, cluster_id, begun_at)
        if cluster is None:
            return
        args = {k: str(v)[:300] for k, v in exc.args_.items()} | {
            "endpoint": cluster.endpoint,
            "auth_id": cluster.auth_id,
        }
        cluster.failures += 1
        cluster.status, cluster.status_args = code, args
        cluster.status_detail = str(exc.args_.get("reason") or exc.detail)[:500]
        cluster.version += 1
        uow.publish(
            "cluster",
            "all",
            {"id": cluster.id, "status": code, "nodes": [], "storages": [], "version": cluster.version},
        )


def _mine(uow: UnitOfWork, cluster_id: int, begun_at: datetime) -> Cluster | None:
    """The cluster, locked, unless a later poll began meanwhile: what it finds is newer."""
    return uow.session.scalars(
        select(Cluster)
        .where(Cluster.id == cluster_id, Cluster.enabled, Cluster.poll_begun_at == begun_at)
        .with_for_update(key_share=True)
    ).one_or_none()


def _tell(
    uow: UnitOfWork, cluster: Cluster, nodes: inventory_rows.Diff, storages: inventory_rows.Diff, **lists: bool
) -> None:
    """One event for the whole poll: names and figures of changed nodes, names of changed storages."""
    cluster.version += 1
    names = [k[0] for k in (*nodes.added, *nodes.changed)]
    rows = uow.session.scalars(select(Node).where(Node.cluster_id == cluster.id, Node.name.in_(names))) if names else ()
    uow.publish("cluster", "all", {
        "id": cluster.id, "status": cluster.status, "version": cluster.version,
        "nodes": [{"name": n.name, "online": n.online, "cpu": n.cpu_percent, "memory_used_mib": n.memory_used_mib,
                   "version": n.version} for n in rows],
        "storages": sorted({str(k[1]) for k in (*storages.added, *storages.changed)}),
        "removed": [k[0] for k in nodes.removed], **lists,
    })  # fmt: skip
