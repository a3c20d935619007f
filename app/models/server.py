"""Servers, the workspaces that hold their state, and what is reserved for them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.domain.server_status import ServerStatus
from app.models.base import Base, Json, Versioned, created, enum_column, pk
from app.models.cluster import Cluster
from app.models.user import User


class Workspace(Base):
    """One Terraform state with 1..N servers."""

    __tablename__ = "workspace"

    id: Mapped[pk]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id"), index=True)
    # A GET for a workspace that ever had a state is never answered "empty".
    state_ever: Mapped[bool] = mapped_column(default=False)
    flavour: Mapped[str | None] = mapped_column(String(16))  # terraform or opentofu: never changes
    terraform_version: Mapped[str | None] = mapped_column(String(32))  # never goes back
    # A person's lock: while it is there, new runs wait.
    locked_at: Mapped[datetime | None]
    locked_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"), index=True)
    lock_reason: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[created]


class Server(Versioned, Base):
    __tablename__ = "server"
    __table_args__ = (
        Index("uq_server_name_alive", "cluster_id", "name", unique=True, postgresql_where=text("deleted_at is null")),
        # Few at a time among many: placement counts them for every request.
        Index("ix_server_creating", "cluster_id", postgresql_where=text("status = 'creating' and deleted_at is null")),
        Index("ix_server_list", "name", "id", postgresql_where=text("deleted_at is null")),
        UniqueConstraint("workspace_id", "slug"),
    )

    id: Mapped[pk]
    slug: Mapped[str] = mapped_column(String(80))  # the for_each key: never changes
    name: Mapped[str] = mapped_column(String(63))
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id"))
    owner_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    template_id: Mapped[int | None] = mapped_column(ForeignKey("template.id", ondelete="SET NULL"), index=True)
    template_name: Mapped[str] = mapped_column(String(128))
    template_image: Mapped[str] = mapped_column(String(40), default="", server_default="")  # what the template was then
    marker: Mapped[str] = mapped_column(String(128))  # first line of the VM's description
    vmid: Mapped[int]
    node_name: Mapped[str] = mapped_column(String(64))
    status: Mapped[ServerStatus] = mapped_column(enum_column(ServerStatus), default=ServerStatus.CREATING)
    cores: Mapped[int]
    memory_mib: Mapped[int]
    # [{interface, storage, size_gib}], the first is the boot disk
    disks: Mapped[list[Json]]
    # [{network_id, network, bridge, vlan, ip, prefix, gateway}]
    nics: Mapped[list[Json]]
    username: Mapped[str] = mapped_column(String(32))
    ssh_keys: Mapped[list[str]] = mapped_column(default=list)
    tags: Mapped[list[str]] = mapped_column(default=list)
    description: Mapped[str] = mapped_column(String(8192), default="")
    agent: Mapped[bool] = mapped_column(default=False)
    start_on_create: Mapped[bool] = mapped_column(default=True)
    in_state: Mapped[bool] = mapped_column(default=False)  # Terraform's state has it
    busy_run_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    busy_action_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    safe_change_id: Mapped[UUID | None] = mapped_column(index=True)  # holds it also between its parts
    # observed
    ip_addresses: Mapped[list[str]] = mapped_column(default=list)
    cpu_percent: Mapped[int] = mapped_column(default=0)
    memory_percent: Mapped[int] = mapped_column(default=0)
    uptime_s: Mapped[int] = mapped_column(BigInteger, default=0)
    lock: Mapped[str | None] = mapped_column(String(32))  # what Proxmox has locked it for: backup, clone, migrate, …
    # The loads of the last two hours, a sample in five minutes (services/usage.py).
    cpu_recent: Mapped[list[int]] = mapped_column(default=list, server_default="[]")
    usage_at: Mapped[datetime | None]
    observed_at: Mapped[datetime | None]
    run_id: Mapped[int | None] = mapped_column(BigInteger)  # the last run that named it
    created_at: Mapped[created]
    deleted_at: Mapped[datetime | None]

    workspace: Mapped[Workspace] = relationship(lazy="raise")
    owner: Mapped[User] = relationship(lazy="raise")
    cluster: Mapped[Cluster] = relationship(lazy="raise")

    @property
    def busy(self) -> bool:
        """True while a run, an action or a safe change works on it."""
        return self.busy_run_id is not None or self.busy_action_id is not None or self.safe_change_id is not None


class Reservation(Base):
    """A VMID or an IP held for a server; unique, so nobody can hold the same twice."""

    __tablename__ = "reservation"
    __table_args__ = (UniqueConstraint("cluster_id", "kind", "scope", "value"),)

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(8))  # vmid, ip
    scope: Mapped[str] = mapped_column(String(80), default="")  # ip: bridge/vlan the address lives on
    value: Mapped[str] = mapped_column(String(64))
    server_id: Mapped[int | None] = mapped_column(ForeignKey("server.id", ondelete="SET NULL"), index=True)
    # Set when given back: until then nobody gets it, afterwards the row goes.
    quarantined_until: Mapped[datetime | None] = mapped_column(index=True)
    created_at: Mapped[created]


class SlotHolder(Base):
    """Clones, disks … of one run at one resource: (run, fence) holds `taken` slots of `resource`."""

    __tablename__ = "slot"
    __table_args__ = (UniqueConstraint("run_id", "fence", "resource"),)

    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(BigInteger)
    fence: Mapped[int]
    resource: Mapped[str] = mapped_column(String(160), index=True)  # template:1:9000, node:1:pve1, storage:1:nfs
    taken: Mapped[int]
    created_at: Mapped[created]


__all__ = ["Reservation", "Server", "ServerStatus", "SlotHolder", "Workspace"]
