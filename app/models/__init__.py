"""Tables and constraints; no workflow."""

from app.models.action import Action, Bulk
from app.models.base import Base
from app.models.cluster import Bridge, CapacitySample, Cluster, Guest, Node, Storage
from app.models.delivery import Delivery, Destination, NotificationPreference
from app.models.network import Network, Preset, Template
from app.models.record import AuditEvent, IdempotencyKey, Notification, Outbox, Setting
from app.models.run import PlanChange, Run, RunEvent, RunLease, RunLog, SavedPlan, StateVersion
from app.models.safe_change import SafeChange
from app.models.schedule import Execution, Schedule
from app.models.server import Reservation, Server, SlotHolder, Workspace
from app.models.unmanaged import UnmanagedServer
from app.models.user import ApiToken, Membership, Project, SavedView, User

__all__ = [
    "Action", "ApiToken", "AuditEvent", "Base", "Bridge", "Bulk", "CapacitySample", "Cluster", "Delivery", "Destination", "Execution", "Guest", "IdempotencyKey",
    "Membership", "Network", "Node", "Notification", "NotificationPreference", "Outbox", "PlanChange", "Preset", "Project", "Reservation", "Run",
    "RunEvent", "RunLease", "RunLog", "SafeChange", "SavedPlan", "SavedView", "Schedule", "Server", "Setting", "SlotHolder", "StateVersion", "Storage",
    "Template", "UnmanagedServer", "User", "Workspace",
]  # fmt: skip
