"""Transactions that outlast a database outage: every write of a runner may be sent again."""

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

from app.extensions import db
from app.services.uow import UnitOfWork, unit_of_work

T = TypeVar("T")
LOST = (OperationalError, InterfaceError)
WAIT_S = 600.0


def patient(work: Callable[[UnitOfWork], T], wait_s: float = WAIT_S) -> T:
    """Run `work` in a transaction of its own, again and again while the database is away.

    `work` must be idempotent: the answer to a commit may be lost after the commit.
    """
    end = time.monotonic() + wait_s
    while True:
        try:
            with unit_of_work() as uow:
                return work(uow)
        except LOST:
            db.engine.dispose()
            if time.monotonic() >= end:
                raise
            time.sleep(0.2)
