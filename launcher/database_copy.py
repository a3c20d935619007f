"""A database as text, table by table, out of one snapshot; and back into empty tables, in one transaction.

    with connected(url) as connection:
        copied = read(connection, archive)                    # {table: Table}, in the archive as tables/NAME.copy
        write(connection, archive, copied, sequences)

PostgreSQL's own COPY is used rather than pg_dump: it needs no program that fits the server's version, and no password in
a command line.
"""

import contextlib
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import IO, Any

import psycopg2
from psycopg2 import sql

VERSION_TABLE = "alembic_version"
FOLDER = "tables"


class Damaged(Exception):
    """What was read is not what was written; the text says what differs."""


@dataclass(frozen=True)
class Table:
    """A table in the archive."""

    columns: list[str]
    rows: int
    sha256: str


class _Counted:
    """A file that COPY writes to or reads from; knows how many rows went through, and their checksum."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.rows, self.digest = file, 0, hashlib.sha256()

    def _note(self, data: bytes) -> None:
        # Line breaks inside a value are written as \n: each line is a row.
        self.rows += data.count(b"\n")
        self.digest.update(data)

    def write(self, data: bytes) -> int:
        """Take what COPY sends."""
        self._note(data)
        return self.file.write(data)

    def read(self, size: int = -1) -> bytes:
        """Give COPY what it asks for."""
        data = self.file.read(size)
        self._note(data)
        return data


@contextlib.contextmanager
def connected(url: str) -> Iterator[Any]:
    """Connect to the database of these settings. Raises psycopg2.OperationalError."""
    connection = psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def snapshot(connection: Any) -> None:
    """See one moment only, however long it takes and whoever writes meanwhile."""
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)


def tables(connection: Any) -> list[str]:
    """Return the tables, those that others refer to first."""
    with connection.cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = 'public' and tablename <> %s order by tablename", (VERSION_TABLE,))
        found = {row[0]: set[str]() for row in cursor}
        cursor.execute(
            "select c.relname, p.relname from pg_constraint f join pg_class c on c.oid = f.conrelid join pg_class p on p.oid = f.confrelid "
            "where f.contype = 'f' and c.oid <> p.oid and f.connamespace = 'public'::regnamespace"
        )
        for child, parent in cursor:
            found[child].add(parent)
    return list(TopologicalSorter(found).static_order())


def columns(connection: Any, table: str) -> list[str]:
    """Return the columns of a table that hold values of their own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum",
            (f'public."{table}"',),
        )
        return [row[0] for row in cursor]


def revision(connection: Any) -> str | None:
    """Return the revision of the database; None when nothing was made in it yet."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('public.alembic_version')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("select version_num from alembic_version")
        row = cursor.fetchone()
    return str(row[0]) if row else None


def sequences(connection: Any) -> dict[str, int]:
    """Return how far the sequences are: an id that was given once is never given again."""
    with connection.cursor() as cursor:
        cursor.execute("select sequencename, last_value from pg_sequences where schemaname = 'public' and last_value is not null order by 1")
        return {name: int(value) for name, value in cursor}


def _copy(name: str, names: list[str], direction: str) -> sql.Composed:
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL("copy {} ({}) " + direction).format(sql.Identifier("public", name), listed)


def read(connection: Any, archive: zipfile.ZipFile) -> dict[str, Table]:
    """Write every table into the archive."""
    found = {}
    for name in tables(connection):
        names = columns(connection, name)
        with archive.open(f"{FOLDER}/{name}.copy", "w", force_zip64=True) as file, connection.cursor() as cursor:
            counted = _Counted(file)
            cursor.copy_expert(_copy(name, names, "to stdout"), counted)
        found[name] = Table(names, counted.rows, counted.digest.hexdigest())
    return found


def empty(connection: Any) -> bool:
    """True when no table has a row."""
    with connection.cursor() as cursor:
        for name in tables(connection):
            cursor.execute(sql.SQL("select exists (select from {})").format(sql.Identifier("public", name)))
            if cursor.fetchone()[0]:
                return False
    return True


def write(connection: Any, archive: zipfile.ZipFile, wanted: dict[str, Table], numbers: dict[str, int]) -> None:
    """Fill the tables from the archive; the caller commits. Raises Damaged."""
    there = tables(connection)
    if unknown := sorted(set(wanted) - set(there)):
        raise Damaged(f"it has tables that its revision has not: {', '.join(unknown)}")
    for name in there:
        if name not in wanted:
            raise Damaged(f"the table {name} is missing in it")
        table = wanted[name]
        with archive.open(f"{FOLDER}/{name}.copy") as file, connection.cursor() as cursor:
            counted = _Counted(file)
            cursor.copy_expert(_copy(name, table.columns, "from stdin"), counted)
        if (counted.rows, counted.digest.hexdigest()) != (table.rows, table.sha256):
            raise Damaged(f"the table {name} has {counted.rows} rows or other contents than the {table.rows} that were written")
    with connection.cursor() as cursor:
        for name, value in numbers.items():
            cursor.execute("select setval(format('public.%%I', %s::text)::regclass, %s)", (name, value))
