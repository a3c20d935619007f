"""What time it is: the database's, which all machines have in common."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def now(session: Session) -> datetime:
    """Return the present moment, also in a transaction that began earlier."""
    found: datetime = session.scalars(select(func.clock_timestamp())).one()
    return found


def later(seconds: float) -> Any:
    """Return the moment so many seconds from now, as an expression of a statement; negative: before now."""
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
