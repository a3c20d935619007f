"""Networks (where addresses come from), templates and presets (what servers are made from)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, created, pk


class Network(Base):
    __tablename__ = "network"
    __table_args__ = (
        UniqueConstraint("cluster_id", "name"),
        Index("uq_network_default", "cluster_id", unique=True, postgresql_where=text("is_default")),
    )

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    bridge: Mapped[str] = mapped_column(String(64))
    vlan: Mapped[int | None]
    cidr: Mapped[str] = mapped_column(String(43))
    gateway: Mapped[str | None] = mapped_column(String(39))
    dns_servers: Mapped[list[str]] = mapped_column(default=list)
    dns_domain: Mapped[str | None] = mapped_column(String(253))
    range_low: Mapped[str] = mapped_column(String(39))
    range_high: Mapped[str] = mapped_column(String(39))
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[created]


class Template(Base):
    """A Proxmox template that is offered, or could be."""

    __tablename__ = "template"
    __table_args__ = (
        UniqueConstraint("cluster_id", "vmid"),
        # Names are how people and scripts address a template: one offered template a name.
        Index("uq_template_name_offered", "name", unique=True, postgresql_where=text("offered and not gone")),
    )

    id: Mapped[pk]
    cluster_id: Mapped[int] = mapped_column(ForeignKey("cluster.id", ondelete="CASCADE"), index=True)
    vmid: Mapped[int]
    name: Mapped[str] = mapped_column(String(128))
    node_name: Mapped[str] = mapped_column(String(64))
    family: Mapped[str] = mapped_column(String(24), default="linux")  # ubuntu, debian, rocky, …: the icon
    cores: Mapped[int] = mapped_column(default=1)
    memory_mib: Mapped[int] = mapped_column(default=1024)
    min_memory_mib: Mapped[int] = mapped_column(default=512)
    disk_gib: Mapped[int] = mapped_column(default=10)
    disk_interface: Mapped[str] = mapped_column(String(16), default="scsi0")
    storage: Mapped[str] = mapped_column(String(64), default="")
    storage_shared: Mapped[bool] = mapped_column(default=False)
    agent: Mapped[bool] = mapped_column(default=False)
    username: Mapped[str] = mapped_column(String(32), default="ubuntu")
    image: Mapped[str] = mapped_column(String(40), default="", server_default="")  # another one after the VM was made anew
    image_at: Mapped[datetime | None]  # since when it is this one, as Proxmox or we know
    offered: Mapped[bool] = mapped_column(default=True)
    gone: Mapped[bool] = mapped_column(default=False)  # Proxmox no longer reports it
    created_at: Mapped[created]


class Preset(Base):
    __tablename__ = "preset"

    id: Mapped[pk]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    cores: Mapped[int]
    memory_mib: Mapped[int]
    disk_gib: Mapped[int]
    position: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[created]
