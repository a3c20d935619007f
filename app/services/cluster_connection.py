""" "Test connection" in codes, and the clusters that are connected at start: the simulated one, the configured one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.adapters import crypto
from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.privileges import missing_privileges
from app.adapters.proxmox.types import Access
from app.domain.permissions import Permission
from app.domain.tasks import TaskName
from app.errors import Invalid, ProxmoxError
from app.models import Cluster, Network
from app.schemas.clusters import ClusterInput
from app.services import audit, clusters, presets
from app.services.actor import Actor
from app.services.uow import UnitOfWork

# name, bridge, VLAN, CIDR, gateway, first and last address handed out
FIRST_NETWORKS = (
    ("servers", "vmbr0", None, "10.20.0.0/22", "10.20.0.1", "10.20.0.50", "10.20.3.250"),
    ("internal", "vmbr1", 40, "10.40.0.0/24", "10.40.0.1", "10.40.0.10", "10.40.0.250"),
)


@dataclass(frozen=True)
class TestResult:
    """`code` is "connection_ok" or what is wrong; `args` complete its sentence."""

    __test__ = False  # pytest: not a test class

    ok: bool
    code: str
    args: dict[str, Any] = field(default_factory=dict)
    release: str = ""
    nodes: tuple[str, ...] = ()


def try_access(access: Access) -> TestResult:
    """Reach a cluster and say in one code what is wrong with it."""
    known = {"endpoint": access.url, "auth_id": access.auth_id}
    try:
        with ProxmoxClient(access) as proxmox:
            release = proxmox.version()
            missing = missing_privileges(proxmox.permissions())
            nodes = tuple(sorted(n.name for n in proxmox.resources().nodes))
    except ProxmoxError as exc:
        return TestResult(False, failure_code(exc), {**known, **exc.args_})
    if missing:
        named = ", ".join(f"{privilege} ({path})" for privilege, path in missing)
        args = {**known, "privilege": missing[0][0], "path": missing[0][1], "privileges": named}
        return TestResult(False, "proxmox_missing_privileges", args, release, nodes)
    return TestResult(True, "connection_ok", {**known, "release": release, "nodes": len(nodes)}, release, nodes)


def failure_code(exc: ProxmoxError) -> str:
    """Return the most telling code of a failure: which fault of the certificate, which one of the network."""
    detail = str(exc.args_.get("problem") or exc.args_.get("reason") or "")
    if exc.code == "proxmox_refused" and detail == "not_proxmox":
        return "proxmox_not_proxmox"
    if exc.code == "proxmox_unauthorized" and detail in ("password", "second_factor"):
        return f"proxmox_unauthorized_{detail}"
    if exc.code == "proxmox_certificate" and detail in (
        "expired",
        "not_yet_valid",
        "wrong_host",
        "unknown_issuer",
        "fingerprint",
    ):
        return f"proxmox_certificate_{detail}"
    if exc.code == "proxmox_unreachable" and detail in (
        "refused",
        "unknown_host",
        "timeout",
        "no_route",
        "not_tls",
        "gateway",
    ):
        return f"proxmox_unreachable_{detail}"
    return exc.code


def test_connection(session: Session, actor: Actor, raw: Mapping[str, Any], cluster_id: int | None) -> TestResult:
    """Try a cluster's form before it is saved; an empty secret means the stored one. Raises Invalid, NotFound."""
    actor.need(Permission.MANAGE_CLUSTERS)
    cluster = clusters.get(session, cluster_id) if cluster_id is not None else None
    merged = {**(clusters.as_input(cluster) if cluster else {"name": "test"}), **raw}
    data, faults = clusters.read(session, merged, cluster)
    faults = [f for f in faults if f.field not in ("name", "vmid_low", "vmid_high")]
    if data is None or faults:
        raise Invalid(faults)
    secret = data.secret.get_secret_value() if data.secret else ""
    if not secret and cluster is not None:
        secret = crypto.decrypt(cluster.secret).decode()
    session.rollback()  # nothing is held while the network is waited for
    return try_access(Access(data.endpoint, data.auth_id, secret, data.ca_pem, data.fingerprint))


def audit_test(uow: UnitOfWork, actor: Actor, endpoint: str, result: TestResult) -> None:
    """Leave a trace of a connection attempt."""
    audit.record(uow, actor, "cluster.test", "cluster", "", endpoint[:255], result=result.code)


def connect_embedded(uow: UnitOfWork, endpoint: str, token_id: str, token_secret: str, ca_pem: str) -> Cluster:
    """Connect the simulated cluster, or bring its row up to date; at first with two networks and the presets."""
    cluster = uow.session.scalars(select(Cluster).where(Cluster.embedded)).first()
    if cluster is None:
        cluster = _add(
            uow, clusters.EMBEDDED_NAME, endpoint=endpoint, auth_id=token_id, secret=token_secret, ca_pem=ca_pem
        )
        cluster.embedded = True
        for position, (name, bridge, vlan, cidr, gateway, low, high) in enumerate(FIRST_NETWORKS):
            uow.session.add(
                Network(
                    cluster_id=cluster.id, name=name, bridge=bridge, vlan=vlan, cidr=cidr, gateway=gateway,
                    dns_servers=[gateway], range_low=low, range_high=high, is_default=position == 0,
                )
            )  # fmt: skip
    elif (cluster.endpoint, cluster.auth_id, cluster.ca_pem) != (endpoint, token_id, ca_pem) or (
        crypto.decrypt(cluster.secret).decode() != token_secret
    ):
        cluster.endpoint, cluster.auth_id, cluster.ca_pem = endpoint, token_id, ca_pem
        cluster.secret, cluster.poll_begun_at = crypto.encrypt(token_secret.encode()), None
        cluster.version += 1
    presets.add_first(uow)
    uow.ring(TaskName.INVENTORY, [])
    return cluster


def connect_configured(
    uow: UnitOfWork, endpoint: str, token_id: str, token_secret: SecretStr, ca_pem: str | None, *, name: str = "proxmox"
) -> Cluster:
    """Connect the cluster of PROXMOX_ENDPOINT once; afterwards the environment only renews its token and CA."""
    url = ClusterInput.model_validate({"name": name, "endpoint": endpoint, "auth_id": token_id}).endpoint
    cluster = uow.session.scalars(select(Cluster).where(Cluster.endpoint == url, Cluster.enabled)).first()
    if cluster is None:
        taken = set(uow.session.scalars(select(Cluster.name)))
        free = next(n for n in (name, *(f"{name}-{i}" for i in range(2, 1000))) if n not in taken)
        cluster = _add(uow, free, endpoint=url, auth_id=token_id, secret=token_secret.get_secret_value(), ca_pem=ca_pem)
    else:
        cluster.auth_id, cluster.ca_pem = token_id, ca_pem or cluster.ca_pem
        cluster.secret = crypto.encrypt(token_secret.get_secret_value().encode())
    presets.add_first(uow)
    uow.ring(TaskName.INVENTORY, [])
    return cluster


def _add(uow: UnitOfWork, name: str, *, endpoint: str, auth_id: str, secret: str, ca_pem: str | None) -> Cluster:
    cluster = Cluster(
        name=name, endpoint=endpoint, auth_id=auth_id, secret=crypto.encrypt(secret.encode()), ca_pem=ca_pem, version=1
    )
    uow.session.add(cluster)
    uow.session.flush()
    audit.record(uow, None, "cluster.create", "cluster", cluster.id, cluster.name, endpoint=endpoint)
    return cluster
