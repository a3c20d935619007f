"""Moving over: 100,000 notifications and 5,000 servers out of SQLite and into the PostgreSQL of a running instance.

Three processes, as a person calls them: into a portable backup, into the database, and the comparison. Each round has an
installation of its own, so that none finds its rows there already.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.product import product
from tests.bench.report import Report
from tests.fixtures.older import hashed, older
from tests.stack import ROOT, Stack

NOTIFICATIONS, SERVERS, USERS = 100_000, 5_000, 20
MUST_S = 60.0


def migration(place: Path, report: Report, rounds: int) -> None:
    """Measure the rounds."""
    report.heading("migration", f"{NOTIFICATIONS:,} notifications, {SERVERS:,} servers and {USERS} users of the older application")
    read, loaded, compared = [], [], []
    with product(place) as one:
        for number in range(1, rounds + 1):
            database, backup = _filled(place / f"old-{number}.db", number), place / f"backup-{number}"
            read.append(_timed(one.stack, "migrate_sqlite_to_postgres.py", str(database), str(backup)))
            loaded.append(_timed(one.stack, "restore_postgres_data.py", str(backup)))
            compared.append(_timed(one.stack, "restore_postgres_data.py", str(backup), "--verify"))
            report.round("migration", number, f"read {read[-1]:.1f} s", f"loaded {loaded[-1]:.1f} s", f"compared {compared[-1]:.1f} s")
    report.value("migration: SQLite into a portable backup", read, "s")
    report.value("migration: the backup into PostgreSQL", loaded, "s")
    report.value("migration: both together", [a + b for a, b in zip(read, loaded, strict=True)], "s", must=MUST_S)
    report.value("migration: counts and checksums compared", compared, "s")


def _filled(path: Path, number: int) -> Path:
    known = hashed()
    return older(
        path,
        users=[{"id": n, "username": f"user-{number}-{n}", "password_hash": known, "created_at": "2023-01-01 09:00:00"} for n in range(1, USERS + 1)],
        servers=[
            {
                "id": n, "name": f"server-{n:04}", "vmid": 1000 + n, "status": "running", "ip_address": f"10.{n // 250}.{n % 250}.5,10.{n // 250}.{n % 250}.6", "role": "nginx",
                "os_type": "ubuntu", "cpu": 2, "memory": 4096, "created_at": "2023-01-01 09:00:00",
            }
            for n in range(1, SERVERS + 1)
        ],
        # One in a thousand is for everybody.
        notifications=[
            {
                "id": n, "type": "server_creation", "title": "Server created", "message": f"server-{n % SERVERS:04} is there", "details": "it took 40 s\nand came from a template",
                "severity": "success", "user_id": None if n % 1000 == 0 else n % USERS + 1, "is_read": n % 2, "created_at": "2023-01-01 09:00:00",
            }
            for n in range(1, NOTIFICATIONS + 1)
        ],
    )  # fmt: skip


def _timed(stack: Stack, script: str, *arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / "scripts" / script), *arguments], cwd=ROOT, env=stack.env, stdout=subprocess.DEVNULL, timeout=600, check=True)
    return time.perf_counter() - began
