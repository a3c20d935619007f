"""A backup into PostgreSQL: what exists there is kept, counted and listed, so that loading again adds nothing.

    with connected(url) as connection:
        load(connection, backup, tell, each_table=True)     # a transaction a table, or one for all

Each table goes through COPY into a temporary one, and from there in one statement past what is there already.
"""

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from scripts.older import carrying_over
from scripts.older.carrying_over import People
from scripts.older.portable_backup import Backup
from scripts.older.report import Line, Progress, Refused

LOCK_KEY = 5_208_164_213  # any constant: one loader at a time
# No hash matches it: such a user signs in with a new password only.
NOBODYS = "!"
KEPT = "was there already and is kept as it is"
Tell = Callable[[Line], None]


@dataclass(frozen=True)
class Loaded:
    """What became of a table: rows that are new, rows that were there before, rows of the backup that do not come over."""

    table: str
    new: int
    kept: int


def load(connection: Any, backup: Backup, tell: Tell, *, each_table: bool) -> list[Loaded]:
    """Load all tables. Raises Refused."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(%s)", (LOCK_KEY,))
        if not cursor.fetchone()[0]:
            raise Refused("another load is under way in this database: wait for its end")
        cursor.execute("select to_regclass('public.unmanaged_server')")
        if cursor.fetchone()[0] is None:
            raise Refused("the database is older than this version: start the application once, or call run.py migrate")
    connection.commit()
    people = People.of(backup, tell)
    done = []
    for step in (_projects, _users, _servers, _notifications):
        done.append(step(connection, backup, people, tell))
        if each_table:
            _note(connection, backup, done[-1:])
            connection.commit()
    if not each_table:
        _note(connection, backup, done)
        connection.commit()
    return done


def _note(connection: Any, backup: Backup, done: list[Loaded]) -> None:
    """Leave a row in the audit list for what is new."""
    new = {part.table: part.new for part in done if part.new}
    if new:
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into audit_event (username, action, object_type, object_id, object_name, detail, address) values ('system', 'older.load', 'settings', %s, '', %s, '')",
                (backup.source, json.dumps({"new": new})),
            )


def _staged(connection: Any, table: str, definition: str, rows: Iterable[tuple[Any, ...]], total: int) -> int:
    """Put rows into a temporary table; returns how many."""
    count, progress, buffer = 0, Progress(table, total), io.StringIO()
    with connection.cursor() as cursor:
        cursor.execute(f"create temporary table staged_{table} (n bigint, {definition}) on commit drop")
        for row in rows:
            count += 1
            buffer.write("\t".join(map(_field, (count, *row))) + "\n")
            progress.step()
            if buffer.tell() > 1 << 20:
                _send(cursor, table, buffer)
        _send(cursor, table, buffer)
        # Without it the planner takes a table of 100,000 rows for a small one.
        cursor.execute(f"analyze staged_{table}")
    progress.end()
    return count


def _field(value: Any) -> str:
    if value is None:
        return r"\N"
    return str(value).replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")


def _send(cursor: Any, table: str, buffer: io.StringIO) -> None:
    buffer.seek(0)
    cursor.copy_expert(f"copy staged_{table} from stdin", buffer)
    buffer.seek(0)
    buffer.truncate()


def _projects(connection: Any, backup: Backup, _people: People, tell: Tell) -> Loaded:
    rows = [(project.name, project.created_at) for project in carrying_over.projects(backup, tell)]
    count = _staged(connection, "projects", "name text, created_at timestamptz", rows, len(rows))
    new = _insert(
        connection,
        "insert into project (name, approval, four_eyes, created_at) select name, 'never', false, coalesce(created_at, clock_timestamp()) "
        "from staged_projects order by n on conflict (name) do nothing returning name",
    )
    for name, _ in rows:
        if name not in new:
            tell(Line("projects", None, name, KEPT))
    return Loaded("projects", len(new), count - len(new))


def _users(connection: Any, backup: Backup, people: People, tell: Tell) -> Loaded:
    rows = [
        (p.username, p.password_hash or NOBODYS, p.role.value, p.active, p.created_at, p.last_login_at) for p in people.found.values()
    ]  # fmt: skip
    definition = "username text, password_hash text, role text, active boolean, created_at timestamptz, last_login_at timestamptz"
    count = _staged(connection, "users", definition, rows, len(rows))
    new = _insert(
        connection,
        'insert into "user" (username, password_hash, role, active, password_is_first, last_login_at, created_at) '
        "select username, password_hash, role, active, false, last_login_at, coalesce(created_at, clock_timestamp()) "
        "from staged_users order by n on conflict ((lower(username))) do nothing returning username",
    )
    for old_id, person in people.found.items():
        if person.username not in new:
            tell(Line("users", old_id, person.username, f"{KEPT}, with its password and role"))
    return Loaded("users", len(new), count - len(new))


def _servers(connection: Any, backup: Backup, _people: People, tell: Tell) -> Loaded:
    entries = list(carrying_over.servers(backup, tell))
    rows = (
        (s.source_key, s.name, s.vmid, s.role, s.os, s.cores, s.memory_mib, json.dumps(s.ip_addresses), s.former_status, s.former_created_at)
        for s in entries
    )  # fmt: skip
    columns = "source_key, name, vmid, role, os, cores, memory_mib, ip_addresses, former_status, former_created_at"
    definition = (
        "source_key text, name text, vmid bigint, role text, os text, cores int, memory_mib int, ip_addresses jsonb, former_status text, former_created_at timestamptz"
    )
    count = _staged(connection, "servers", definition, rows, backup.tables.get("servers", 0))
    new = _insert(
        connection,
        f"insert into unmanaged_server ({columns}) select {columns} from staged_servers order by n on conflict (source_key) do nothing returning source_key",  # noqa: S608 - names of ours
    )
    for entry in entries:
        if entry.source_key not in new:
            tell(Line("servers", _old_id(entry.source_key), entry.name, KEPT))
    return Loaded("servers", len(new), count - len(new))


def _notifications(connection: Any, backup: Backup, people: People, tell: Tell) -> Loaded:
    with connection.cursor() as cursor:
        cursor.execute('select lower(username), id from "user"')
        ids = dict(cursor.fetchall())
    here = {old_id: ids[person.username] for old_id, person in people.found.items()}
    rows = (
        (here[note.old_user_id], note.event_key, note.severity.value, note.text, note.read, note.created_at)
        for note in carrying_over.notifications(backup, people, tell)
    )  # fmt: skip
    definition = "user_id bigint, event_key text, severity text, legacy_text text, read boolean, created_at timestamptz"
    count = _staged(connection, "notifications", definition, rows, backup.tables.get("notifications", 0))
    usernames = {user_id: username for username, user_id in ids.items()}
    with connection.cursor() as cursor:
        cursor.execute("select s.user_id, s.event_key from staged_notifications s join notification using (user_id, event_key)")
        for user_id, event_key in cursor:
            tell(Line("notifications", _old_id(event_key), usernames[user_id], KEPT))
        cursor.execute(
            "insert into notification (user_id, event_key, code, args, severity, link, own, legacy_text, read_at, created_at) "
            "select user_id, event_key, 'older', '{}', severity, '', false, legacy_text, case when read then created_at end, created_at "
            "from staged_notifications order by created_at, n on conflict (user_id, event_key) do nothing"
        )
        new = cursor.rowcount
    return Loaded("notifications", new, count - new)


def _old_id(key: str) -> int:
    return int(key.rpartition(":")[2])


def _insert(connection: Any, statement: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return {row[0] for row in cursor}
