"""What each row of a backup becomes here, and what of it has no place here: the one set of rules for loading and for telling.

    people = People(backup.rows("users"), tell)        # tell(Line) hears of everything that is lost
    for row in notifications(backup, people, tell): ...
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from app.domain.permissions import Permission, Role, allows
from app.domain.server_status import Severity
from scripts.older.old_schema import Row
from scripts.older.portable_backup import Backup
from scripts.older.report import Line

Tell = Callable[[Line], None]
ROLES = {"admin": Role.ADMINISTRATOR, "operator": Role.OPERATOR, "developer": Role.DEVELOPER, "viewer": Role.VIEWER}
USERNAME = re.compile(r"[a-z0-9._-]{2,64}")
NOT_IN_USERNAMES = re.compile(r"[^a-z0-9._-]")
NAME, PROJECT, ROLE, SHORT = 255, 64, 255, 64
P = Permission
# What the older application's permissions are called here; of those that are not in it nothing corresponds.
PERMISSIONS = {
    "view_all": P.VIEW_ALL, "create_server": P.CREATE, "delete_server": P.DELETE, "start_server": P.POWER, "stop_server": P.POWER, "reboot_server": P.POWER,
    "manage_server": P.CHANGE, "manage_users": P.MANAGE_USERS, "manage_network": P.MANAGE_NETWORKS, "view_logs": P.VIEW_AUDIT,
}  # fmt: skip
# What an older developer had and a developer here has, only of one's own servers.
OF_ONES_OWN = {(Role.DEVELOPER, P.VIEW_ALL)}


@dataclass(frozen=True)
class Person:
    """A user as it will be here; an empty hash lets nobody in."""

    old_id: int
    username: str
    password_hash: str
    role: Role
    active: bool
    created_at: str | None
    last_login_at: str | None


@dataclass
class People:
    """Those who are carried over, by their former ids."""

    found: dict[int, Person] = field(default_factory=dict)

    @classmethod
    def of(cls, backup: Backup, tell: Tell) -> "People":
        """Read them; the first of two with one name stays."""
        people, taken = cls(), dict[str, int]()
        for row in backup.rows("users"):
            old_id, former = row["id"], str(row.get("username", ""))
            username = NOT_IN_USERNAMES.sub("-", former.strip().lower())

            def said(what: str, old_id: int = old_id, former: str = former) -> None:
                tell(Line("users", old_id, former, what))

            if not USERNAME.fullmatch(username):
                said("the name has fewer than 2 or more than 64 characters: not carried over")
                continue
            if username in taken:
                said(f"user {taken[username]} has the same name: not carried over")
                continue
            taken[username] = old_id
            if username != former:
                said(f"signs in as {username} now" if username != former.lower() else f"the name is written {username} now; signing in works with either")
            if lost := [words for words, column in (("full name", "name"), ("e-mail address", "email")) if row.get(column)]:
                said(f"{' and '.join(lost)} have no place here" if len(lost) > 1 else f"the {lost[0]} has no place here")
            role = ROLES.get(str(row.get("role", "developer")).strip().lower())
            if role is None:
                said(f"the role {row.get('role')!r} is not known: the user becomes a viewer")
            people.found[old_id] = Person(
                old_id, username, str(row.get("password_hash", "")), role or Role.VIEWER, bool(row.get("is_active", True)),
                row.get("created_at"), row.get("last_login"),
            )  # fmt: skip
        return people


def tell_permissions(backup: Backup, people: People, tell: Tell) -> None:
    """Name the permissions that somebody had beside those of the role he has here."""
    for row in backup.rows("user_permissions"):
        person, name = people.found.get(row.get("user_id") or 0), str(row.get("permission", ""))
        if person is None:
            tell(Line("user_permissions", row["id"], name, "its user is not carried over"))
            continue
        here = PERMISSIONS.get(name)
        if here is None:
            tell(Line("user_permissions", row["id"], person.username, f"nothing here corresponds to {name}"))
        elif not allows(person.role, here) and (person.role, here) not in OF_ONES_OWN:
            tell(Line("user_permissions", row["id"], person.username, f"{name} is not among what the role {person.role.value} may do"))


def tell_datastores(backup: Backup, tell: Tell) -> None:
    """Name the datastores: here storages are what the cluster says they are."""
    for row in backup.rows("datastores"):
        tell(Line("datastores", row["id"], str(row.get("name", "")), "storages are read from the cluster: not carried over"))


@dataclass(frozen=True)
class Unmanaged:
    """A server of the older application."""

    source_key: str
    name: str
    vmid: int | None
    role: str
    os: str
    cores: int | None
    memory_mib: int | None
    ip_addresses: tuple[str, ...]
    former_status: str
    former_created_at: str | None


def servers(backup: Backup, tell: Tell) -> Iterator[Unmanaged]:
    """Yield every server, whatever it has in common with another one."""
    by_name, by_address, by_vmid = dict[str, int](), dict[str, str](), dict[int, str]()
    for row in backup.rows("servers"):
        name = str(row.get("name", ""))[:NAME]

        def said(what: str, row: Row = row, name: str = name) -> None:
            tell(Line("servers", row["id"], name, what))

        if name in by_name:
            said(f"server {by_name[name]} has the same name; both are listed")
        by_name.setdefault(name, row["id"])
        vmid = row.get("vmid")
        if vmid is not None and by_vmid.setdefault(vmid, name) != name:
            said(f"VMID {vmid} is also the one of {by_vmid[vmid]}; both are listed")
        for address in row.get("ip_addresses", []):
            if by_address.setdefault(address, name) != name:
                said(f"the address {address} is also claimed by {by_address[address]}")
        if row.get("firewall_group"):
            said(f"the firewall group {row['firewall_group']!r} has no place here")
        yield Unmanaged(
            f"{backup.source}:{row['id']}", name, vmid, str(row.get("role", ""))[:ROLE], str(row.get("os_type", ""))[:SHORT], row.get("cpu"), row.get("memory"),
            tuple(row.get("ip_addresses", [])), str(row.get("status", ""))[:SHORT], row.get("created_at"),
        )  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A notification of one person."""

    old_user_id: int
    event_key: str
    text: str
    severity: Severity
    read: bool
    created_at: str


def notifications(backup: Backup, people: People, tell: Tell) -> Iterator[Note]:
    """Yield every notification once for whom it was for: for everybody when it was for nobody in particular."""
    everybody = list(people.found)
    severities = {severity.value: severity for severity in Severity}
    for row in backup.rows("notifications"):
        wanted, title = row.get("user_id"), str(row.get("title", ""))
        if wanted is not None and wanted not in people.found:
            tell(Line("notifications", row["id"], title[:60], f"its user {wanted} is not carried over, and neither is it"))
            continue
        if row.get("created_at") is None:
            tell(Line("notifications", row["id"], title[:60], "it has no time: the one of the backup is taken"))
        for old_user_id in everybody if wanted is None else [wanted]:
            yield Note(
                old_user_id, f"older:{backup.source}:{row['id']}", words(row), severities.get(str(row.get("severity", "")).lower(), Severity.INFO),
                bool(row.get("is_read", True)), row.get("created_at") or backup.made_at,
            )  # fmt: skip


def words(row: Row) -> str:
    """Return what a notification said: title, message, and below them the details."""
    head = ": ".join(part for part in (str(row.get("title", "")).strip(), str(row.get("message", "")).strip()) if part)
    details = str(row.get("details", "")).strip()
    return "\n".join(part for part in (head, details) if part) or str(row.get("type", ""))


@dataclass(frozen=True)
class Named:
    """A project."""

    name: str
    created_at: str | None


def projects(backup: Backup, tell: Tell) -> Iterator[Named]:
    """Yield the projects; their status has no place here."""
    taken: set[str] = set()
    for row in backup.rows("projects"):
        name, status = str(row.get("name", "")).strip(), str(row.get("status", "")).strip()
        if not name or len(name) > PROJECT:
            tell(Line("projects", row["id"], name[:60], f"the name has no character or more than {PROJECT}: not carried over"))
            continue
        if name in taken:
            tell(Line("projects", row["id"], name, "another project has the same name: not carried over"))
            continue
        taken.add(name)
        if status and status.lower() != "active":
            tell(Line("projects", row["id"], name, f"the status {status!r} has no place here"))
        yield Named(name, row.get("created_at"))


def everything_lost(backup: Backup) -> list[Line]:
    """Return a line for everything that has no place here, without loading anything."""
    lines: list[Line] = []
    people = People.of(backup, lines.append)
    tell_permissions(backup, people, lines.append)
    tell_datastores(backup, lines.append)
    drain: Iterable[object]
    for drain in (projects(backup, lines.append), servers(backup, lines.append), notifications(backup, people, lines.append)):
        for _ in drain:
            pass
    return lines
