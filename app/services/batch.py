"""New rows of several tables in one statement: for requests whose answer a person waits for.

    rows = Batch()
    rows.add(Workspace(id=7, ...))
    rows.add(Server(id=9, workspace_id=7, ...))      # ids drawn beforehand: rows name each other
    rows.write(session)

What is added is written as it is and belongs to no session. Foreign keys are checked when all rows are there.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from psycopg2.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.models.base import Base
from app.services.prepared import Prepared

SAVEPOINT = "batch"


class Taken(Exception):
    """Somebody wrote a row with the same unique values; nothing of the batch is there."""


class Batch:
    """Rows that wait to be written; those of one model set the same attributes."""

    def __init__(self) -> None:
        self._rows: dict[type[Base], list[dict[str, Any]]] = {}

    def add(self, row: Base) -> None:
        """Add a row that no session knows."""
        self.put(type(row), row.__dict__)

    def put(self, model: type[Base], attributes: Mapping[str, Any]) -> None:
        """Add a row that nobody looks at afterwards."""
        self._rows.setdefault(model, []).append(_values(model, attributes))

    def write(self, session: Session, *, commit: bool = False) -> None:
        """Write all of them. Raises Taken.

        With `commit` that ends the transaction, in the same round trip: then Taken has undone all of it.
        """
        tables = tuple((model.__tablename__, tuple(rows[0])) for model, rows in self._rows.items())
        document = {model.__tablename__: rows for model, rows in self._rows.items()}
        # A savepoint is a transaction within: with many requests at once it takes its own locks on the same parents.
        around = ("", "; commit") if commit else (f"savepoint {SAVEPOINT}; ", "")
        try:
            _statement(tables).rows(session.connection(), document, *around)
        except IntegrityError as exc:
            if not isinstance(exc.orig, UniqueViolation):
                raise
            if commit:
                session.rollback()
            else:
                session.connection().exec_driver_sql(f"rollback to savepoint {SAVEPOINT}")
            raise Taken from exc


def _values(model: type[Base], given: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for key, column, default in _columns(model):
        if key in given:
            values[column] = given[key]
        elif default is not None:
            values[column] = default(None) if callable(default) else default
    return values


@cache
def _columns(model: type[Base]) -> tuple[tuple[str, str, Any], ...]:
    """Attribute, column and the default that the mapper would have filled in; the database fills in the others."""
    return tuple(
        (attribute.key, attribute.columns[0].name, getattr(attribute.columns[0].default, "arg", None))
        for attribute in model.__mapper__.column_attrs
    )


@cache
def _statement(tables: tuple[tuple[str, tuple[str, ...]], ...]) -> Prepared:
    parts = []
    for number, (table, columns) in enumerate(tables):
        names = ", ".join(f'"{c}"' for c in columns)
        rows = f"jsonb_populate_recordset(null::\"{table}\", $1->'{table}')"
        parts.append(f'w{number} as (insert into "{table}" ({names}) select {names} from {rows})')  # noqa: S608 - our own names
    return Prepared(f"with {', '.join(parts)} select 1")
