"""What a VM uses over time, as Proxmox records it."""

from dataclasses import dataclass
from enum import StrEnum


class Timeframe(StrEnum):
    """How far back usage goes, in Proxmox's words; the further, the coarser."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class UsagePoint:
    """What a guest used in one step of time, on average; None where Proxmox has nothing (stopped, or not there yet).

    `cpu` is a share of all its cores (0 to 1); memory in bytes, the rest in bytes a second.
    """

    at_s: int
    cpu: float | None = None
    memory: float | None = None
    memory_total: float | None = None
    net_in: float | None = None
    net_out: float | None = None
    disk_read: float | None = None
    disk_write: float | None = None
