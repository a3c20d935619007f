"""The database pool: its options, and noticing a connection that died while it lay idle."""

import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DisconnectionError

from app.config import Settings
from app.connection import Connection as Joined

STATEMENT_TIMEOUT_MS = 15_000
# A process that is stopped in the middle of a transaction keeps its locks: after this long PostgreSQL takes them away.
# Less than a lease, so that the sweeper can hand its run to another runner. No transaction waits for anything but the database.
IDLE_IN_TRANSACTION_MS = 10_000


def engine_options(settings: Settings, application: str = "tpm") -> dict[str, Any]:
    """Return SQLAlchemy's engine options."""
    return {
        # As many as a burst of clients takes stay open: under load a new one takes a quarter of a second.
        "pool_size": 20,
        "max_overflow": 10,
        "pool_timeout": 10,
        "pool_use_lifo": True,
        # No ping: `_refuse_dead` finds out without a round trip (measured 0.2 ms a request saved).
        "pool_pre_ping": False,
        # Nobody uses the type, whose number SQLAlchemy would look up on every new connection.
        "use_native_hstore": False,
        "connect_args": {
            "connect_timeout": 3,
            "connection_factory": Joined,
            "application_name": f"{application}:{settings.port}",
            # Prepared statements are planned once (services/prepared.py); none runs so long that compiling it would pay.
            "options": (
                f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
                " -c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off"
            ),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    }


@cache
def _poller() -> Any:
    # gevent's poll would yield; this one only looks.
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("select", "poll") if monkey else select.poll


def _refuse_dead(connection: Any, record: Any, _proxy: Any) -> None:
    """Refuse a pooled connection whose server has hung up; the pool then makes a new one.

    Nothing arrives on an idle connection, so one that is readable holds an end of file or the server's farewell.
    """
    if not record.info.setdefault("used", False):
        record.info["used"] = True
        return
    poll = _poller()()
    try:
        poll.register(connection.fileno(), select.POLLIN)
        dead = connection.closed or poll.poll(0)
    except (OSError, ValueError):
        dead = True
    if dead:
        raise DisconnectionError("the server closed this connection")


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """A connection for one statement that is its own transaction."""
    with engine.connect() as conn:
        raw: Any = conn.connection.driver_connection
        raw.transactional = False
        try:
            yield conn
        finally:
            raw.transactional = True


def watch(engine: Engine) -> None:
    """Check every connection that leaves the pool."""
    event.listen(engine, "checkout", _refuse_dead)
