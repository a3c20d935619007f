"""What time it is: the database's, which all machines have in common."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def now(session: Session) -> datetime:
    """Return the present moment, also in a transaction that began earlier."""
    found: datetime = session.scalars(select(func.clock_timestamp())).one()
    return found
