"""The module's inputs (app/hcl/proxmox_vm): every value a JSON literal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DiskInput:
    interface: str
    datastore: str
    size_gib: int


@dataclass(frozen=True)
class NicInput:
    bridge: str
    vlan: int | None
    address: str  # CIDR, or dhcp
    gateway: str | None


@dataclass(frozen=True)
class ServerInput:
    name: str
    vmid: int
    marker: str
    node: str
    note: str
    tags: Sequence[str]
    started: bool
    cores: int
    memory_mib: int
    agent: bool
    username: str
    ssh_keys: Sequence[str]
    clone_timeout: int
    disks: Sequence[DiskInput]
    nics: Sequence[NicInput]


@dataclass(frozen=True)
class Defaults:
    template_vmid: int
    template_node: str
    dns_servers: Sequence[str] = ()
    dns_domain: str | None = None


def render(endpoint: str, defaults: Defaults, servers: Mapping[str, ServerInput]) -> dict[str, Any]:
    """Return the content of terraform.tfvars.json."""
    return {
        "endpoint": endpoint,
        "defaults": asdict(defaults),
        "servers": {slug: asdict(server) for slug, server in servers.items()},
    }
