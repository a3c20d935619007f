"""What a server row says about its VM."""

from enum import StrEnum


class ServerStatus(StrEnum):
    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    DELETING = "deleting"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
