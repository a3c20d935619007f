"""Asking Proxmox about one server while a page waits for it: where it is, whether it is ours, and how failures are told."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from app.adapters.proxmox.client import ProxmoxClient
from app.domain import vm_config
from app.errors import AppError, Conflict, ProxmoxNotFound, ProxmoxUnreachable
from app.models import Server
from app.services import actions, clusters, servers
from app.services.actor import Actor

T = TypeVar("T")
# A page waits for this: shorter than what a worker grants Proxmox.
READ_S = 5.0


class ClusterAway(AppError):
    """The cluster does not answer now; `cluster` names it."""

    code, status, retryable = "cluster_away", 503, True


class VmMissing(Conflict):
    code = "vm_missing"


class NotOurs(Conflict):
    """The VM under the server's VMID does not carry its mark."""

    code = "not_ours"


def ask(session: Session, actor: Actor, server_name: str, question: Callable[[ProxmoxClient, str, int], T]) -> T:
    """Return what `question` finds out about the server's VM; it gets the client, the VM's node and its VMID.

    Raises NotFound, ServerNotMade, ClusterAway, VmMissing, NotOurs, errors.Proxmox*.
    """
    server = servers.get(session, actor, server_name)
    if not actions.made(server):
        raise actions.ServerNotMade(server.name, server=server.name, status=server.status.value)
    # The connection goes back to the pool: Proxmox may let us wait.
    session.close()
    try:
        with clusters.connection(server.cluster, READ_S) as proxmox:
            try:
                return _of(proxmox, server, server.node_name, question)
            except ProxmoxNotFound:
                guest = proxmox.resources().guest(server.vmid)
                if guest is None or guest.kind != "qemu":
                    raise VmMissing(vmid=server.vmid) from None
                return _of(proxmox, server, guest.node_name, question)
    except ProxmoxNotFound:
        raise VmMissing(vmid=server.vmid) from None
    except ProxmoxUnreachable as exc:
        raise ClusterAway(exc.detail, cluster=server.cluster.name) from exc


def _of(proxmox: ProxmoxClient, server: Server, node: str, question: Callable[[ProxmoxClient, str, int], T]) -> T:
    config = proxmox.vm_config(node, server.vmid)
    if not vm_config.carries(config, server.marker):
        raise NotOurs(vmid=server.vmid, name=config.get("name", ""))
    return question(proxmox, node, server.vmid)
