"""Clusters: connecting, changing, testing and removing them, and the way to reach one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, cast, func, select, tuple_
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from app.adapters import crypto
from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.session import READ_S
from app.adapters.proxmox.trust import ca_path
from app.adapters.proxmox.types import Access
from app.domain.permissions import Permission
from app.domain.tasks import TaskName
from app.errors import Conflict, FieldError, Invalid, NotFound
from app.models import Bridge, Cluster, Guest, Network, Node, Reservation, Server, Storage, Template, Workspace
from app.schemas.clusters import ClusterInput
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.schemas.parsing import parse
from app.services import audit
from app.services.actor import Actor
from app.services.uow import UnitOfWork

EMBEDDED_NAME = "simulated"


class ClusterInUse(Conflict):
    """Servers are on it; `count` says how many."""

    code = "cluster_in_use"


# ---- reaching one
def access(cluster: Cluster) -> Access:
    """Return how to reach a cluster. Raises Undecryptable."""
    secret = crypto.decrypt(cluster.secret).decode()
    return Access(cluster.endpoint, cluster.auth_id, secret, cluster.ca_pem, cluster.fingerprint)


def connection(cluster: Cluster, read_s: float = READ_S) -> ProxmoxClient:
    """Return a client of one's own: close it, and never hand it to another thread. Raises Undecryptable."""
    return ProxmoxClient(access(cluster), read_s)


def terraform_environment(cluster: Cluster) -> dict[str, str]:
    """Return the credentials as the Terraform provider reads them."""
    way = access(cluster)
    if way.uses_token:
        return {"PROXMOX_VE_API_TOKEN": f"{way.auth_id}={way.secret}"}
    return {"PROXMOX_VE_USERNAME": way.auth_id, "PROXMOX_VE_PASSWORD": way.secret}


def ca_file(cluster: Cluster) -> Path | None:
    """Return a file with what must be trusted to reach the cluster; None when the system's roots will do."""
    return ca_path(cluster.ca_pem) if cluster.ca_pem else None


# ---- reading
def get(session: Session, cluster_id: int) -> Cluster:
    """Return a cluster. Raises NotFound."""
    cluster = session.get(Cluster, cluster_id)
    return cluster if cluster is not None and cluster.enabled else _missing()


def connected(session: Session) -> list[Cluster]:
    """Return the clusters, the oldest first."""
    return list(session.scalars(select(Cluster).where(Cluster.enabled).order_by(Cluster.id)))


def list_page(session: Session, limit: int | None = None, cursor: str | None = None) -> Page[Cluster]:
    """Return clusters by name."""
    size = clamp(limit)
    stmt = select(Cluster).where(Cluster.enabled).order_by(Cluster.name, Cluster.id).limit(size + 1)
    if after := decode_cursor(cursor, str, int):
        stmt = stmt.where(tuple_(Cluster.name, Cluster.id) > tuple_(*after))
    rows = session.scalars(stmt).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page(rows[:size], encode_cursor(last.name, last.id) if last else None)


def servers_by_cluster(session: Session) -> dict[int, int]:
    """Count the servers of every cluster that has some."""
    query = select(Server.cluster_id, func.count()).where(Server.deleted_at.is_(None)).group_by(Server.cluster_id)
    return {row[0]: row[1] for row in session.execute(query)}


def servers_on(session: Session, cluster_id: int) -> int:
    """Count the servers on a cluster."""
    stmt = select(func.count()).select_from(Server).where(Server.cluster_id == cluster_id, Server.deleted_at.is_(None))
    return session.scalar(stmt) or 0


# ---- writing
def check(session: Session, raw: Mapping[str, Any], cluster: Cluster | None = None) -> list[FieldError]:
    """Return every fault of a cluster's form, for the live check."""
    return read(session, raw, cluster)[1]


def create(uow: UnitOfWork, actor: Actor, raw: Mapping[str, Any]) -> Cluster:
    """Connect a cluster; its inventory is read at once. Raises Invalid."""
    actor.need(Permission.MANAGE_CLUSTERS)
    data, faults = read(uow.session, raw, None)
    if data is None or faults or data.secret is None:
        raise Invalid(faults)
    cluster = Cluster(version=1, status="unknown")
    _write(cluster, data)
    uow.session.add(cluster)
    uow.session.flush()
    audit.record(uow, actor, "cluster.create", "cluster", cluster.id, cluster.name, endpoint=cluster.endpoint)
    uow.ring(TaskName.INVENTORY, [])
    return cluster


def change(uow: UnitOfWork, actor: Actor, cluster_id: int, raw: Mapping[str, Any]) -> Cluster:
    """Change a cluster; what is not given stays. Raises Invalid, NotFound."""
    actor.need(Permission.MANAGE_CLUSTERS)
    cluster = _locked(uow.session, cluster_id)
    data, faults = read(uow.session, {**as_input(cluster), **raw}, cluster)
    if data is None or faults:
        raise Invalid(faults)
    before = as_input(cluster)
    _write(cluster, data)
    cluster.version += 1
    cluster.poll_begun_at = None  # due at once
    fields = sorted(k for k, v in as_input(cluster).items() if v != before[k]) + (["secret"] if data.secret else [])
    audit.record(uow, actor, "cluster.change", "cluster", cluster.id, cluster.name, fields=fields)
    uow.ring(TaskName.INVENTORY, [])
    return cluster


def delete(uow: UnitOfWork, actor: Actor, cluster_id: int) -> None:
    """Disconnect a cluster without servers. Raises ClusterInUse, NotFound.

    Runs and deleted servers of the past keep pointing to its row, which loses its secret and its name.
    """
    actor.need(Permission.MANAGE_CLUSTERS)
    cluster = _locked(uow.session, cluster_id)
    if count := servers_on(uow.session, cluster.id):
        raise ClusterInUse(cluster.name, count=count, cluster=cluster.name)
    audit.record(uow, actor, "cluster.delete", "cluster", cluster.id, cluster.name)
    uow.publish("cluster", "all", {"id": cluster.id, "deleted": True, "version": cluster.version + 1})
    for table in (Node, Storage, Bridge, Guest, Network, Template, Reservation):
        uow.session.execute(delete_rows(table).where(table.cluster_id == cluster.id))
    history = uow.session.scalar(select(Workspace.id).where(Workspace.cluster_id == cluster.id).limit(1))
    if history is None:
        uow.session.delete(cluster)
        return
    cluster.enabled, cluster.secret, cluster.embedded = False, b"", False
    cluster.name, cluster.version = f"{cluster.name[:40]} #{cluster.id}", cluster.version + 1


def as_input(cluster: Cluster) -> dict[str, Any]:
    """Return the row as its own form would send it, without the secret."""
    return {
        "name": cluster.name, "endpoint": cluster.endpoint, "auth_id": cluster.auth_id,
        "ca_pem": None if cluster.fingerprint else cluster.ca_pem, "fingerprint": cluster.fingerprint,
        "vmid_low": cluster.vmid_low, "vmid_high": cluster.vmid_high,
    }  # fmt: skip


def read(
    session: Session, raw: Mapping[str, Any], cluster: Cluster | None
) -> tuple[ClusterInput | None, list[FieldError]]:
    """Read a cluster's form with the faults only the database knows."""
    data, faults = parse(ClusterInput, raw)
    name = raw.get("name")
    if isinstance(name, str) and name.strip() and "name" not in {f.field for f in faults}:
        twin = session.scalars(select(Cluster).where(Cluster.name == name.strip())).first()
        if twin is not None and (cluster is None or twin.id != cluster.id):
            faults.append(FieldError("name", "name_taken", {"name": twin.name}))
    if cluster is None and not raw.get("secret"):
        faults.append(FieldError("secret", "missing"))
    if data is not None:
        faults += _identity_faults(session, data, cluster)
        if data.vmid_low > data.vmid_high:
            faults.append(FieldError("vmid_high", "range_reversed", {"low": data.vmid_low, "high": data.vmid_high}))
        elif cluster is not None:
            faults += _cut_off(session, data, cluster)
    return data, faults


def _identity_faults(session: Session, data: ClusterInput, cluster: Cluster | None) -> list[FieldError]:
    if cluster is None:
        return []
    faults = []
    if data.auth_id != cluster.auth_id and data.secret is None:
        faults.append(FieldError("secret", "secret_of_other_account", {"auth_id": data.auth_id}))
    # A stored secret must not be sent to a host that somebody just typed in.
    if data.endpoint != cluster.endpoint and data.secret is None:
        faults.append(FieldError("secret", "secret_for_other_endpoint", {"endpoint": data.endpoint}))
    return faults


def _cut_off(session: Session, data: ClusterInput, cluster: Cluster) -> list[FieldError]:
    """VMIDs already given out must stay inside the range."""
    vmid = cast(Reservation.value, BigInteger)
    low, high = session.execute(
        select(func.min(vmid), func.max(vmid)).where(Reservation.cluster_id == cluster.id, Reservation.kind == "vmid")
    ).one()
    faults = []
    if low is not None and low < data.vmid_low and data.vmid_low != cluster.vmid_low:
        faults.append(FieldError("vmid_low", "vmid_range_cuts", {"vmid": low}))
    if high is not None and high > data.vmid_high and data.vmid_high != cluster.vmid_high:
        faults.append(FieldError("vmid_high", "vmid_range_cuts", {"vmid": high}))
    return faults


def _write(cluster: Cluster, data: ClusterInput) -> None:
    pinned = data.fingerprint is not None and data.fingerprint == cluster.fingerprint
    cluster.name, cluster.endpoint, cluster.auth_id = data.name, data.endpoint, data.auth_id
    if data.secret is not None:
        cluster.secret = crypto.encrypt(data.secret.get_secret_value().encode())
    # With a fingerprint, ca_pem is the pinned certificate: the first poll fetches it.
    if not pinned:
        cluster.ca_pem = None if data.fingerprint else data.ca_pem
    cluster.fingerprint = data.fingerprint
    cluster.vmid_low, cluster.vmid_high = data.vmid_low, data.vmid_high


def _locked(session: Session, cluster_id: int) -> Cluster:
    cluster = session.get(Cluster, cluster_id, with_for_update=True)
    return cluster if cluster is not None and cluster.enabled else _missing()


def _missing() -> Cluster:
    raise NotFound
