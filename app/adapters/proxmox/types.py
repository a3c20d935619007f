"""What Proxmox reports, with our units; the client makes these, nothing above sees its JSON."""

from dataclasses import dataclass, field

Config = dict[str, str]  # a VM's config, every value as text


@dataclass(frozen=True)
class NodeResource:
    name: str
    online: bool
    cores: int = 0
    cpu_percent: int = 0
    memory_mib: int = 0
    memory_used_mib: int = 0
    uptime_s: int = 0


@dataclass(frozen=True)
class StorageResource:
    """A storage as one node sees it; `content` is Proxmox's comma-separated list."""

    node_name: str
    name: str
    kind: str
    shared: bool
    active: bool
    content: str
    total_gib: int
    used_gib: int

    @property
    def images(self) -> bool:
        return "images" in self.content.split(",")


@dataclass(frozen=True)
class GuestResource:
    """A VM (`qemu`) or a container (`lxc`); figures of usage are 0 when it does not run."""

    vmid: int
    name: str
    node_name: str
    kind: str
    status: str
    template: bool = False
    lock: str | None = None
    cores: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    tags: str = ""
    uptime_s: int = 0
    cpu_percent: int = 0
    memory_percent: int = 0


@dataclass(frozen=True)
class Resources:
    """One answer of /cluster/resources."""

    nodes: tuple[NodeResource, ...] = ()
    storages: tuple[StorageResource, ...] = ()
    guests: tuple[GuestResource, ...] = ()

    def guest(self, vmid: int) -> GuestResource | None:
        return next((g for g in self.guests if g.vmid == vmid), None)


@dataclass(frozen=True)
class VmStatus:
    """`qmp` tells more than `status`: a paused VM is "running" with qmp "paused"."""

    status: str
    qmp: str = ""
    lock: str | None = None
    uptime_s: int = 0

    @property
    def running(self) -> bool:
        return self.status == "running"


@dataclass(frozen=True)
class TaskStatus:
    """`exit_status` is None while the task runs."""

    upid: str
    running: bool
    exit_status: str | None = None

    @property
    def ok(self) -> bool:
        return self.exit_status == "OK" or (self.exit_status or "").startswith("WARNINGS")


@dataclass(frozen=True)
class TaskEntry:
    """A line of a task list: `kind` is Proxmox's (qmstart, qmclone, …), `started_at_s` by the node's clock."""

    upid: str
    node_name: str
    kind: str
    vmid: str
    user: str
    started_at_s: int
    exit_status: str | None = None


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot; `phase` is empty when it is whole, else what Proxmox was or is doing with it (prepare, delete)."""

    name: str
    description: str = ""
    memory: bool = False
    made_at_s: int = 0
    parent: str | None = None
    phase: str = ""


@dataclass(frozen=True)
class SnapshotList:
    """A VM's snapshots, the oldest first, and where the VM stands: the snapshot it goes on from, and whether it runs."""

    items: tuple[SnapshotInfo, ...] = ()
    parent: str | None = None
    running: bool = False

    def named(self, name: str) -> SnapshotInfo | None:
        return next((s for s in self.items if s.name == name), None)


@dataclass(frozen=True)
class BridgeInfo:
    name: str
    vlan_aware: bool = False


@dataclass(frozen=True)
class Access:
    """How to reach a cluster and who we are there. `auth_id` is "user@realm!token", or "user@realm" with a password."""

    url: str
    auth_id: str
    secret: str = field(repr=False)
    ca_pem: str | None = None
    fingerprint: str | None = None

    @property
    def uses_token(self) -> bool:
        return "!" in self.auth_id
