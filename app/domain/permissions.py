"""Who may do what: roles over one enum of permissions."""

from enum import StrEnum


class Permission(StrEnum):
    VIEW = "view"
    VIEW_ALL = "view_all"  # everybody's servers and runs, not only one's own
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    POWER = "power"
    SNAPSHOT = "snapshot"  # make, delete and go back to snapshots
    SCHEDULE = "schedule"  # have work start by itself; the work takes its own permission
    MANAGE_ALL = "manage_all"  # change, power, snapshot, delete and cancel what belongs to others
    APPROVE = "approve"
    LOCK = "lock"  # lock and unlock a workspace, break the lock of a dead run
    ROLL_BACK_STATE = "roll_back_state"  # make a former state the newest one
    DOWNLOAD_STATE = "download_state"  # a state has passwords and keys in it
    STOP_NOW = "stop_now"  # kill a run's Terraform in the middle of its work
    MANAGE_CLUSTERS = "manage_clusters"
    MANAGE_NETWORKS = "manage_networks"
    MANAGE_TEMPLATES = "manage_templates"
    MANAGE_USERS = "manage_users"
    MANAGE_PROJECTS = "manage_projects"  # when plans wait for approval, and for whose
    MANAGE_SETTINGS = "manage_settings"
    VIEW_AUDIT = "view_audit"


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    DEVELOPER = "developer"
    VIEWER = "viewer"


P = Permission
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMINISTRATOR: frozenset(Permission),
    Role.OPERATOR: frozenset(
        {P.VIEW, P.VIEW_ALL, P.CREATE, P.CHANGE, P.DELETE, P.POWER, P.SNAPSHOT, P.SCHEDULE, P.MANAGE_ALL, P.APPROVE, P.STOP_NOW,
         P.LOCK, P.ROLL_BACK_STATE, P.DOWNLOAD_STATE, P.MANAGE_NETWORKS, P.MANAGE_TEMPLATES, P.VIEW_AUDIT}
    ),
    Role.DEVELOPER: frozenset({P.VIEW, P.CREATE, P.CHANGE, P.DELETE, P.POWER, P.SNAPSHOT, P.SCHEDULE}),
    Role.VIEWER: frozenset({P.VIEW, P.VIEW_ALL}),
}  # fmt: skip


def allows(role: Role, permission: Permission) -> bool:
    """True when the role holds the permission."""
    return permission in PERMISSIONS[role]
