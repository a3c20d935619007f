"""Chosen points: places inside a transaction of the product where everything stands still until the test has struck.

Triggers in the test's own database wait for an advisory lock that only `armed` holds. A deferred one fires in the COMMIT
itself, so that the test decides whether that commit takes place (`commit`) or not (`roll_back`) after it has struck. Who
waits is seen in `pg_stat_activity`: the trigger writes point and run into `application_name`.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.bench.floor import instance
from tests.stack import Stack, processes

LOCKS = 77_777  # the first half of the advisory locks' keys
POLL_S = 0.01
COMMIT_LIMIT_S = 5.0


@dataclass(frozen=True)
class Point:
    """An event of a table: `when` narrows it down, `run` is the column that holds the run's id."""

    name: str
    table: str
    event: str
    when: str = "true"
    run: str = "run_id"
    at_commit: bool = True


CLAIM = Point("claim", "run", "update", "old.state = 'plan_queued' and new.state = 'planning'", "id")
PLANNED = Point("planned", "run", "update", "old.state = 'planning' and new.state = 'planned'", "id")
STATE = Point("state", "state_version", "insert")
FINAL = Point("final", "run", "update", "old.state in ('planning', 'applying') and new.state in ('applied', 'planned_and_finished', 'errored', 'canceled')", "id")
ANSWER = Point("answer", "idempotency_key", "insert", run="")
OUTBOX = Point("outbox", "outbox", "delete", run="", at_commit=False)
POINTS = (CLAIM, PLANNED, STATE, FINAL, ANSWER, OUTBOX)

_FUNCTION = """
create schema if not exists chaos;
create or replace function chaos.wait() returns trigger language plpgsql as $$
declare found text := '';
begin
    if not pg_try_advisory_xact_lock_shared(%(locks)s, tg_argv[1]::int) then
        if tg_argv[2] <> '' then
            execute format('select ($1).%%I::text', tg_argv[2]) using new into found;
        end if;
        perform set_config('application_name', 'chaos ' || tg_argv[0] || ' ' || found, true);
        perform pg_advisory_xact_lock_shared(%(locks)s, tg_argv[1]::int);
    end if;
    return null;
end $$;
"""


def install(stack: Stack) -> None:
    """Make the triggers, anew when they are there; they stay in the database and cost a try of a lock while no point is armed."""
    with contextlib.closing(connect(stack)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_FUNCTION % {"locks": LOCKS})
        for number, point in enumerate(POINTS):
            kind, deferred = ("constraint ", "deferrable initially deferred ") if point.at_commit else ("", "")
            cursor.execute(f"drop trigger if exists chaos_{point.name} on {point.table}")
            cursor.execute(
                f"create {kind}trigger chaos_{point.name} after {point.event} on {point.table} {deferred}for each row "
                f"when ({point.when}) execute function chaos.wait('{point.name}', '{number}', '{point.run}')"
            )


def connect(stack: Stack) -> Any:
    """Return a connection of the test's own."""
    return psycopg2.connect(instance(stack)["database_url"].replace("+psycopg2", ""), connect_timeout=3)


@dataclass(frozen=True)
class Reached:
    """Somebody stands at an armed point: his backend, his own process, and the run if the row tells it."""

    backend: int
    owner: int | None
    run_id: int | None


class Armed:
    """A point that stops whoever comes to it."""

    def __init__(self, stack: Stack, connection: Any, point: Point) -> None:
        self._stack, self._connection, self._point = stack, connection, point

    def reached(self, limit_s: float, run_id: int | None = None) -> Reached | None:
        """Wait until somebody stands here, or this run."""
        end = time.monotonic() + limit_s
        whose = "%" if run_id is None else str(run_id)
        while time.monotonic() < end:
            rows = self._query(
                "select pid, client_port, split_part(application_name, ' ', 3) from pg_stat_activity "
                f"where application_name like 'chaos {self._point.name} {whose}' and wait_event = 'advisory' order by xact_start limit 1"
            )
            if rows:
                backend, port, run_id = rows[0]
                return Reached(backend, owner_of(self._stack, port), int(run_id) if run_id else None)
            time.sleep(POLL_S)
        return None

    def commit(self, reached: Reached) -> None:
        """Let everybody go on, and wait until this one's transaction is over."""
        self._query(f"select pg_advisory_unlock({LOCKS}, {POINTS.index(self._point)})")
        end = time.monotonic() + COMMIT_LIMIT_S
        while time.monotonic() < end and self._query(f"select 1 from pg_stat_activity where pid = {reached.backend} and state = 'active'"):
            time.sleep(POLL_S)

    def roll_back(self, reached: Reached) -> None:
        """End this one's transaction without its commit."""
        self._query(f"select pg_terminate_backend({reached.backend})")

    def _query(self, text: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(text)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


@contextlib.contextmanager
def armed(stack: Stack, point: Point) -> Iterator[Armed]:
    """Stop whoever comes to the point, until the end of the block."""
    connection = connect(stack)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"select pg_advisory_lock({LOCKS}, {POINTS.index(point)})")
        yield Armed(stack, connection, point)
    finally:
        connection.close()


def in_transaction(stack: Stack, pid: int) -> bool:
    """True when this process, stopped, has rows locked in a transaction that nobody ends."""
    with contextlib.closing(connect(stack)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "select client_port from pg_stat_activity a where state = 'idle in transaction' and exists "
            "(select 1 from pg_locks l where l.pid = a.pid and (l.mode = 'RowShareLock' or l.mode = 'RowExclusiveLock'))"
        )
        ports = [port for (port,) in cursor.fetchall()]
    return any(_holds(pid, _inodes(port)) for port in ports)


def owner_of(stack: Stack, port: int) -> int | None:
    """Return the process of the instance that holds the other end of a loopback connection."""
    inodes = _inodes(port)
    return next((pid for pid in processes(stack) if _holds(pid, inodes)), None)


def _inodes(port: int) -> set[str]:
    local = f"0100007F:{port:04X}"
    return {f[9] for f in map(str.split, Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()) if f[1] == local}


def _holds(pid: int, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()).removeprefix("socket:[").removesuffix("]") in inodes:
                    return True
    return False
