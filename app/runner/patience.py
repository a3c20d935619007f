"""Transactions that outlast a database outage: every write of a runner may be sent again."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

from app.extensions import db
from app.services.uow import UnitOfWork, unit_of_work

T = TypeVar("T")
LOST = (OperationalError, InterfaceError)
# One outage, one budget: what waits after something else has waited gets what is left, so that a runner whose
# database is gone for good ends in time and leaves its run to the next one.
WAIT_S = 300.0
RETRY_S = 0.2
# Failures further apart than this are two outages.
APART_S = 30.0


class _Outage:
    """When the database was first and last found away, by whichever thread asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = self._last = float("-inf")

    def age_s(self) -> float:
        """Note a failure; returns for how long the database has been away."""
        now = time.monotonic()
        with self._lock:
            if now - self._last > APART_S:
                self._first = now
            self._last = now
            return now - self._first

    def over(self) -> None:
        """Note that it answered."""
        with self._lock:
            self._first = self._last = float("-inf")


_outage = _Outage()


def patient(work: Callable[[UnitOfWork], T], wait_s: float = WAIT_S) -> T:
    """Run `work` in a transaction of its own, again and again while the database is away, up to `wait_s` an outage.

    `work` must be idempotent: the answer to a commit may be lost after the commit.
    """
    while True:
        try:
            with unit_of_work() as uow:
                done = work(uow)
        except LOST:
            db.engine.dispose()
            if _outage.age_s() >= wait_s:
                raise
            time.sleep(RETRY_S)
        else:
            _outage.over()
            return done
