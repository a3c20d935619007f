"""Wide statements that each connection plans once: planning took PostgreSQL longer than running them.

    ROOMS = Prepared("select json_build_object('nodes', ... $1 ...)")
    found = ROOMS.one(session, cluster_id)

A statement takes one JSON document, `$1`, and answers with rows of one column or more. The pool tells PostgreSQL to keep the
plan whatever the document holds (`plan_cache_mode` in app/pool.py).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg2
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.schemas.plain import plain

# Such documents have hundreds of values, and msgspec takes a fifth of the standard library's time. Times, enums and UUIDs it knows.
_encode = msgspec.json.Encoder(enc_hook=plain).encode
_decode = msgspec.json.Decoder().decode


class Prepared:
    """A statement of one parameter, named after its text, so that two versions of it never meet in one connection."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.name = "p_" + hashlib.sha256(sql.encode()).hexdigest()[:24]

    def all(self, session: Session, document: object) -> list[Any]:
        """Run it and return the one column."""
        return [row[0] for row in self.rows(session.connection(), document)]

    def one(self, session: Session, document: object) -> Any:
        """Run it and return the JSON document of its one row."""
        return _decode(self.all(session, document)[0])

    def rows(self, conn: Connection, document: object, before: str = "", after: str = "") -> Sequence[Any]:
        """Run it and return whole rows, none when SQL comes after it; before and after it in the same round trip.

        Raises DBAPIError, as SQLAlchemy itself does.
        """
        known = conn.connection.info.setdefault("prepared", set())
        if self.name not in known:
            conn.exec_driver_sql(f"prepare {self.name} (jsonb) as {self.sql.replace('%', '%%')}")
            known.add(self.name)
        text = _encode(document).decode()
        return _fetched(conn, f"{before}execute {self.name} (%s){after}", (text,))


def _fetched(conn: Connection, sql: str, given: tuple[str, ...]) -> Sequence[Any]:
    """Ask psycopg2 directly: SQLAlchemy would describe a result of one column for longer than it takes to fetch it."""
    cursor = conn.connection.cursor()
    try:
        for listener in conn.dispatch.before_cursor_execute:
            listener(conn, cursor, sql, given, None, False)
        cursor.execute(sql, given)
        return cursor.fetchall() if cursor.description else []
    except psycopg2.Error as exc:
        if conn.dialect.is_disconnect(exc, conn.connection.driver_connection, cursor):
            conn.invalidate(exc)
        raise DBAPIError.instance(sql, given, exc, psycopg2.Error, dialect=conn.dialect) from exc
    except BaseException as exc:
        if not isinstance(exc, Exception):  # stopped in the middle: an answer is still to come
            conn.invalidate(exc)
        raise
    finally:
        cursor.close()
