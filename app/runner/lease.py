"""The runner's hold on its run: renewed on a connection of its own, on which a cancel is heard too."""

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from app.config import get_settings
from app.domain.run_state import LEASE_GIVE_UP_S, LEASE_RENEW_S
from app.runner import process
from app.services.runs import CANCEL_CHANNEL

_RENEW = """
update run_lease l set renewed_at = clock_timestamp(), host = %s, boot_id = %s, pid = %s, pid_start = %s
  from run r where l.run_id = %s and l.fence = %s and r.id = l.run_id and r.fence = l.fence
returning case when r.stop_requested_at is not null then 'stop' when r.cancel_requested_at is not null then 'cancel' else '' end
"""
# Short: a lease that waits for a lock is a lease that is not renewed.
_OPTIONS = "-c statement_timeout=2000 -c lock_timeout=2000 -c application_name=runner-lease"


class Lease:
    """Renews until `close`; calls `on_stop` with "cancel", "stop" (at once), "lease" (could not renew for 15 s), "fenced",
    "deadline", and "overdue" when the grace after that is over too."""

    def __init__(self, run_id: int, fence: int, on_stop: Callable[[str], None], deadline_s: float, grace_s: float) -> None:
        self.run_id, self.fence, self.on_stop = run_id, fence, on_stop
        self._deadline = time.monotonic() + deadline_s
        self._overdue = self._deadline + grace_s
        self._closing = os.eventfd(0, os.EFD_CLOEXEC)
        self._dsn = get_settings().database_url.replace("postgresql+psycopg2://", "postgresql://")
        self._identity = (socket.gethostname(), process.boot_id(), os.getpid(), process.start_time(os.getpid()))
        self._connection: Any = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def start(self) -> None:
        """Begin renewing in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop renewing; the row stays for the next runner."""
        process.wake(self._closing)
        self._thread.join(5)

    def _keep(self) -> None:
        last = time.monotonic()
        while True:
            began = time.monotonic()
            renewed = False
            try:
                answer = self._renew()
                if answer is None:
                    self.on_stop("fenced")
                    return
                if answer:
                    self.on_stop(answer)
                last, renewed = began, True
            except psycopg2.Error:
                self._drop()
                if time.monotonic() - last > LEASE_GIVE_UP_S:
                    self.on_stop("lease")
            if began > self._deadline:
                self.on_stop("overdue" if began > self._overdue else "deadline")
            if self._wait(LEASE_RENEW_S if renewed else 0.5):
                self._drop()
                return

    def _renew(self) -> str | None:
        """Renew; returns "cancel" or "stop" when that is asked for, None when the fence is no longer ours."""
        if self._connection is None:
            self._connection = psycopg2.connect(
                self._dsn, connect_timeout=2, options=_OPTIONS, keepalives_idle=5, keepalives_interval=2,
                keepalives_count=2, tcp_user_timeout=4000,
            )  # fmt: skip
            self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(f"listen {CANCEL_CHANNEL}")
        with self._connection.cursor() as cursor:
            cursor.execute(_RENEW, (*self._identity, self.run_id, self.fence))
            row = cursor.fetchone()
        return str(row[0]) if row else None

    def _wait(self, seconds: float) -> bool:
        """Wait for the next renewal, a notification or the end; True at the end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            fds = [self._closing] + ([self._connection.fileno()] if self._connection is not None else [])
            ready, _, _ = select.select(fds, [], [], left)
            if self._closing in ready:
                return True
            if ready and self._heard():
                return False
        return False

    def _heard(self) -> bool:
        """Read notifications; True when one is for this run (then the renewal reads the flag) or the line is dead."""
        try:
            self._connection.poll()
        except psycopg2.Error:
            self._drop()
            return True
        mine = any(n.payload == str(self.run_id) for n in self._connection.notifies)
        self._connection.notifies.clear()
        return mine

    def _drop(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except psycopg2.Error:
                pass
            self._connection = None
