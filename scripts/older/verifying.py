"""Whether the database has what a backup says: counts and checksums of both sides, table by table.

A checksum is the sum of the rows' own, so that no order has to be kept and no table has to fit in memory. What people
change afterwards is left out: passwords, roles, what was read.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scripts.older import carrying_over
from scripts.older.carrying_over import People
from scripts.older.portable_backup import Backup, canonical
from scripts.older.report import Line

WHOLE = 2**128
FETCHED = 5000


@dataclass
class Sum:
    """How many rows, and what they come to."""

    rows: int = 0
    checksum: int = 0

    def add(self, row: Iterable[Any]) -> None:
        """Take a row in."""
        self.rows += 1
        self.checksum = (self.checksum + int.from_bytes(hashlib.sha256(canonical([_plain(v) for v in row]).encode()).digest()[:16])) % WHOLE

    def __str__(self) -> str:
        return f"{self.rows} rows, checksum {self.checksum:032x}"


@dataclass(frozen=True)
class Compared:
    """A table on both sides."""

    table: str
    backup: Sum
    database: Sum

    @property
    def equal(self) -> bool:
        """True when nothing is missing and nothing differs."""
        return self.backup == self.database


def _plain(value: Any) -> Any:
    """Write a moment in one way, whichever side it comes from."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return list(value) if isinstance(value, tuple) else value


def _nothing(_line: Line) -> None:
    """What is lost was told when it was loaded."""


def verify(connection: Any, backup: Backup) -> list[Compared]:
    """Compare every table."""
    people = People.of(backup, _nothing)
    names = {old_id: person.username for old_id, person in people.found.items()}
    projects, users, servers, notes = Sum(), Sum(), Sum(), Sum()
    wanted_projects = [project.name for project in carrying_over.projects(backup, _nothing)]
    for name in wanted_projects:
        projects.add([name])
    for username in names.values():
        users.add([username])
    for s in carrying_over.servers(backup, _nothing):
        servers.add([s.source_key, s.name, s.vmid, s.role, s.os, s.cores, s.memory_mib, s.ip_addresses, s.former_status, s.former_created_at])
    for note in carrying_over.notifications(backup, people, _nothing):
        notes.add([names[note.old_user_id], note.event_key, note.text, note.severity.value, note.created_at])
    return [
        Compared("projects", projects, _summed(connection, "select name from project where name = any(%s)", wanted_projects)),
        Compared("users", users, _summed(connection, 'select lower(username) from "user" where lower(username) = any(%s)', list(names.values()))),
        Compared(
            "servers", servers,
            _summed(
                connection,
                "select source_key, name, vmid, role, os, cores, memory_mib, ip_addresses, former_status, former_created_at "
                "from unmanaged_server where starts_with(source_key, %s)",
                f"{backup.source}:",
            ),
        ),
        Compared(
            "notifications", notes,
            _summed(
                connection,
                'select lower(u.username), n.event_key, n.legacy_text, n.severity, n.created_at from notification n join "user" u on u.id = n.user_id '
                "where starts_with(n.event_key, %s)",
                f"older:{backup.source}:",
            ),
        ),
    ]  # fmt: skip


def _summed(connection: Any, query: str, argument: Any) -> Sum:
    found = Sum()
    with connection.cursor(name="verifying") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(query, (argument,))
        for row in cursor:
            found.add(row)
    return found
