"""Rotating keys: what is stored encrypted is encrypted anew under the newest of ENCRYPTION_KEYS, while everything goes on.

Row by row, each in a transaction of its own and under its lock: a rotation that is interrupted is asked for again and goes on with
what is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import LargeBinary, Table, select, update
from sqlalchemy.orm import Session

from app.adapters import crypto
from app.adapters.crypto import Undecryptable
from app.extensions import db
from app.models import Base
from app.services import audit
from app.services.uow import UnitOfWork, unit_of_work


@dataclass
class Rotated:
    """What became of a column's values; `unreadable` are ids of rows that no key opens."""

    column: str
    anew: int = 0
    before: int = 0
    unreadable: list[int] = field(default_factory=list)


def sealed() -> Iterator[tuple[Table, str]]:
    """Yield what is stored encrypted: every column of bytes is."""
    for table in Base.metadata.sorted_tables:
        yield from ((table, column.name) for column in table.columns if isinstance(column.type, LargeBinary))


def rotate() -> list[Rotated]:
    """Encrypt all anew that an older key had encrypted; says what became of each column."""
    found = [_column(table, name) for table, name in sealed()]
    with unit_of_work() as uow:
        audit.record(uow, None, "keys.rotate", "keys", "", **{one.column: one.anew for one in found})
    return found


def _column(table: Table, name: str) -> Rotated:
    done = Rotated(f"{table.name}.{name}")
    with Session(db.engine) as session:
        ids = session.scalars(select(table.c.id).order_by(table.c.id)).all()
    for row_id in ids:
        with unit_of_work() as uow:
            _row(uow, table, name, row_id, done)
    return done


def _row(uow: UnitOfWork, table: Table, name: str, row_id: int, done: Rotated) -> None:
    value = uow.session.scalar(select(table.c[name]).where(table.c.id == row_id).with_for_update(key_share=True))
    if value is None:
        return
    if crypto.is_newest(value):
        done.before += 1
        return
    try:
        uow.session.execute(update(table).where(table.c.id == row_id).values({name: crypto.rotate(value)}))
        done.anew += 1
    except Undecryptable:
        done.unreadable.append(row_id)
