"""The older application's SQLite database, opened for reading only and read with suspicion.

Installations differ in age: a table or a column may be missing, and SQLite lets any value stand in any column.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.older.report import Refused

HEADER = b"SQLite format 3\0"
PATIENCE_S = 5.0
# In the order in which they are written and loaded.
COLUMNS: dict[str, tuple[str, ...]] = {
    "projects": ("id", "name", "status", "created_at", "updated_at"),
    "users": ("id", "username", "password_hash", "name", "email", "role", "is_active", "created_at", "last_login", "updated_at"),
    "user_permissions": ("id", "user_id", "permission", "created_at"),
    "datastores": (
        "id", "name", "type", "size", "used", "available", "content", "enabled", "is_default_hdd", "is_default_ssd", "is_system_default",
        "created_at", "updated_at",
    ),
    "servers": ("id", "name", "vmid", "status", "ip_address", "role", "firewall_group", "os_type", "cpu", "memory", "created_at", "updated_at"),
    "notifications": ("id", "type", "title", "message", "details", "severity", "user_id", "is_read", "created_at"),
}  # fmt: skip
KEYS = {"projects": "name", "users": "username", "servers": "name"}
NAMED = {"datastores"}
Row = dict[str, Any]


@contextlib.contextmanager
def opened(path: Path) -> Iterator["OldDatabase"]:
    """Open the database and see one moment of it. Raises Refused."""
    try:
        with path.open("rb") as file:
            head = file.read(len(HEADER))
    except OSError as exc:
        raise Refused(f"{path} cannot be read: {exc.strerror}") from None
    if head != HEADER:
        raise Refused(f"{path} is no SQLite database")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S, isolation_level=None)
    # What is no UTF-8 is still shown.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("begin")
        yield OldDatabase(path, connection)
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc) or "busy" in str(exc):
            raise Refused(f"{path} is locked by another program: stop the older application, or work on a copy of the file") from None
        # It was left in the middle of a write, say, and what would put it right may not be written here.
        raise Refused(f"{path} cannot be read ({exc}): copy it, with the files beside it that begin with its name, to a folder you can write to") from None
    except sqlite3.DatabaseError as exc:
        raise Refused(f"{path} is damaged ({exc}): restore it from a backup, or save what can be read with `sqlite3 {path.name} .recover`") from None
    finally:
        connection.close()


class OldDatabase:
    """The tables that are there, of those that are known. Raises Refused when there is none, or a page is damaged."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.connection = connection
        names = {str(row[0]) for row in connection.execute("select name from sqlite_master where type = 'table'")}
        self.tables = {name: self._columns(name) for name in COLUMNS if name in names}
        self.missing = [name for name in COLUMNS if name not in names]
        if not self.tables:
            raise Refused(f"{path} has none of the tables of the older application ({', '.join(COLUMNS)})")
        for row in connection.execute("pragma quick_check(1)"):
            if row[0] != "ok":
                raise sqlite3.DatabaseError(str(row[0]).replace("\n", " ").strip()[:200])
        for name, key in KEYS.items():
            if name in self.tables and key not in self.tables[name]:
                raise Refused(f"the table {name} of {path} has no column {key}: it is another program's")

    def _columns(self, table: str) -> list[str]:
        there = {str(row["name"]) for row in self.connection.execute(f'pragma table_info("{table}")')}
        return [column for column in COLUMNS[table] if column in there]

    def count(self, table: str) -> int:
        """How many rows the table has."""
        return int(self.connection.execute(f'select count(*) from "{table}"').fetchone()[0])  # noqa: S608 - a name of ours

    def rows(self, table: str) -> Iterator[Row]:
        """Yield the rows with the columns that are there, oldest first, each with its `id`."""
        columns = [f'"{column}"' for column in self.tables[table] if column != "id"]
        # Datastores are called by their names; nothing refers to them by id.
        number = '"id"' if "id" in self.tables[table] and table not in NAMED else "rowid"
        query = f'select {", ".join([f"{number} as id", *columns])} from "{table}" order by {number}'  # noqa: S608 - names of ours
        for row in self.connection.execute(query):
            yield dict(row)

    def source(self) -> str:
        """What tells this database from another one, the same for as long as it lives: its first row."""
        for table in ("users", "servers", "notifications", "projects", "datastores", "user_permissions"):
            if table in self.tables:
                first = next(self.rows(table), None)
                if first is not None:
                    told = [table, *(str(first.get(column)) for column in ("id", "username", "name", "created_at"))]
                    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:12]
        return "empty"
