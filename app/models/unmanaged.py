"""Servers that the older application knew: shown beside the guests they seem to be, and never touched."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, created, pk


class UnmanagedServer(Base):
    """An entry of the older application. Which guest it is, is looked up when it is shown."""

    __tablename__ = "unmanaged_server"
    __table_args__ = (Index("ix_unmanaged_server_list", "name", "id"),)

    id: Mapped[pk]
    source_key: Mapped[str] = mapped_column(String(80), unique=True)  # which row of which older database it was
    name: Mapped[str] = mapped_column(String(255))
    vmid: Mapped[int | None] = mapped_column(BigInteger)
    role: Mapped[str] = mapped_column(String(255), default="", server_default="")
    os: Mapped[str] = mapped_column(String(64), default="", server_default="")
    cores: Mapped[int | None]
    memory_mib: Mapped[int | None]
    ip_addresses: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    former_status: Mapped[str] = mapped_column(String(64), default="", server_default="")
    former_created_at: Mapped[datetime | None]
    created_at: Mapped[created]
