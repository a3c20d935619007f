"""Clusters and what Proxmox reports of them: nodes, storages, bridges, guests."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Json, Versioned, created, pk


class Cluster(Versioned, Base):
    __tablename__ = "cluster"

    id: Mapped[pk]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    endpoint: Mapped[str] = mapped_column(String(255))  # https://host:port, without /api2/json
    # token id "user@realm!name", or "user@realm" with a password
    auth_id: Mapped[str] = mapped_column(String(128))
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # MultiFernet
    ca_pem: Mapped[str | None] = mapped_column(String(65_536))
    fingerprint: Mapped[str | None] = mapped_column(String(95))  # SHA-256, colons
    vmid_low: Mapped[int] = mapped_column(default=200)
    vmid_high: Mapped[int] = mapped_column(default=8999)
    embedded: Mapped[bool] = mapped_column(default=False)  # the simulated cluster of this installation
    enabled: Mapped[bool] = mapped_column(default=True)
    status: Mapped[str] = mapped_column(String(48), default="unknown")  # unknown, online, or an error code
    status_detail: Mapped[str] = mapped_column(String(500), default="")
    status_args: Mapped[Json] = mapped_column(default=dict)
    release: Mapped[str] = mapped_column(String(32), default="")
    polled_at: Mapped[datetime | None]  # the last time it answered
    failures: Mapped[int] = mapped_column(default=0, server_default="0")  # polls in a row without an answer
    poll_begun_at: Mapped[datetime | None]  # claimed by the poller that asks it now
    created_at: Mapped[created]

    @property
    def away(self) -> bool:
        """It did not answer when it was asked last: what is known of it is what it said before."""
        return self.status not in ("unknown", "online")

    @property
    def uses_token(self) -> bool:
        return "!" in self.auth_id


class Node(Versioned, Base):
    __tablename__ = "node"
    __table_args__ = (UniqueConstraint("cluster_id", "name"),)

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    online: Mapped[bool] = mapped_column(default=True)
    cores: Mapped[int] = mapped_column(default=0)
    cpu_percent: Mapped[int] = mapped_column(default=0)
    memory_mib: Mapped[int] = mapped_column(default=0)
    memory_used_mib: Mapped[int] = mapped_column(default=0)
    uptime_s: Mapped[int] = mapped_column(BigInteger, default=0)


class Storage(Versioned, Base):
    """A storage as one node sees it; a shared one has a row per node with the same figures."""

    __tablename__ = "storage"
    __table_args__ = (UniqueConstraint("cluster_id", "node_name", "name"),)

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"))
    node_name: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32), default="")  # Proxmox's plugin type: lvmthin, nfs, …
    shared: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)
    images: Mapped[bool] = mapped_column(default=False)  # takes VM disks
    content: Mapped[str] = mapped_column(String(200), default="")
    total_gib: Mapped[int] = mapped_column(default=0)
    used_gib: Mapped[int] = mapped_column(default=0)

    @property
    def free_gib(self) -> int:
        return max(self.total_gib - self.used_gib, 0)


class Bridge(Base):
    __tablename__ = "bridge"
    __table_args__ = (UniqueConstraint("cluster_id", "node_name", "name"),)

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"))
    node_name: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    vlan_aware: Mapped[bool] = mapped_column(default=False)


class Guest(Versioned, Base):
    """Any VM or container Proxmox reports, ours or not."""

    __tablename__ = "guest"
    __table_args__ = (
        UniqueConstraint("cluster_id", "vmid"),
        # Who has this address? Asked for each one that is handed out.
        Index("ix_guest_ip_addresses", "ip_addresses", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    )

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"))
    vmid: Mapped[int]
    name: Mapped[str] = mapped_column(String(128), default="", index=True)
    node_name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(8), default="qemu")
    status: Mapped[str] = mapped_column(String(24), default="unknown")
    template: Mapped[bool] = mapped_column(default=False)
    lock: Mapped[str | None] = mapped_column(String(32))
    cores: Mapped[int] = mapped_column(default=0)
    memory_mib: Mapped[int] = mapped_column(default=0)
    disk_gib: Mapped[int] = mapped_column(default=0)
    tags: Mapped[str] = mapped_column(String(500), default="")
    # Static addresses of its ipconfigN: what an IP reservation is compared with.
    ip_addresses: Mapped[list[str]] = mapped_column(default=list)
    marker: Mapped[str] = mapped_column(String(128), default="", server_default="")  # first line of its description
    config_read_at: Mapped[datetime | None]
    uptime_s: Mapped[int] = mapped_column(BigInteger, default=0)


class CapacitySample(Base):
    """What a cluster had and gave away in an hour: the last poll of that hour."""

    __tablename__ = "capacity_sample"

    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    memory_mib: Mapped[int] = mapped_column(BigInteger)
    memory_used_mib: Mapped[int] = mapped_column(BigInteger)
    memory_allocated_mib: Mapped[int] = mapped_column(BigInteger)  # of guests, running or not
    disk_gib: Mapped[int] = mapped_column(BigInteger)
    disk_used_gib: Mapped[int] = mapped_column(BigInteger)
