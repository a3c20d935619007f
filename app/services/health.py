"""Whether each thing that is needed is there and does its work: for load balancers, and for `run.py doctor`.

A check returns what it found, or raises: Unhealthy in words for everybody, anything else as it is.
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.adapters import broker, crypto
from app.config import get_settings
from app.extensions import db
from app.models import Cluster
from app.services import settings as stored
from app.streaming import events

SWEEPER_KEY = "sweeper.last_tick"
SWEEPER_LATE = timedelta(seconds=20)
PROBE = b"readyz"
CLOCK_S = 2.0  # leases and schedules are judged by the database's clock
DISK_GIB, GIB = 2, 1 << 30


class Unhealthy(RuntimeError):
    """What is wrong, without addresses and statements."""


def database() -> str:
    with Session(db.engine) as session:
        session.execute(text("select 1"))
    return ""


def keys() -> str:
    settings = get_settings()
    if not settings.secret_key.get_secret_value() or not settings.encryption_keys:
        raise Unhealthy("SECRET_KEY or ENCRYPTION_KEYS is missing")
    crypto.decrypt(crypto.encrypt(PROBE))
    return ""


def stored_secrets() -> str:
    """Whether what is in the database can be read with these keys. Raises Undecryptable."""
    with Session(db.engine) as session:
        sealed = session.scalars(select(Cluster.secret).order_by(Cluster.id)).all()
    for secret in sealed:
        crypto.decrypt(secret)
    return f"they open what is stored ({len(sealed)} clusters)"


def redis() -> str:
    events.client().ping()
    return ""


def broker_() -> str:
    broker.ping()
    return ""


def workers() -> str:
    with Session(db.engine) as session:
        at = stored.read_value(session, SWEEPER_KEY).get("at")
    if at is None:
        raise Unhealthy("no worker has reported yet")
    late = datetime.now(UTC) - datetime.fromisoformat(str(at))
    if late > SWEEPER_LATE:
        raise Unhealthy(f"the sweeper last ran {round(late.total_seconds())} s ago: is a worker running?")
    return ""


def terraform() -> str:
    from app.adapters.terraform import binary  # noqa: PLC0415 - looked for when asked

    settings = get_settings()
    found = binary.find_terraform(settings)
    return f"{found.flavour} {found.version}"


def provider() -> str:
    from app.adapters.terraform import binary, provider  # noqa: PLC0415

    settings = get_settings()
    provider.find_provider(binary.find_terraform(settings), settings)
    return provider.VERSION


def cluster() -> str:
    with Session(db.engine) as session:
        rows = session.execute(select(Cluster.name, Cluster.status).where(Cluster.enabled)).all()
    if not rows:
        raise Unhealthy("no cluster is connected")
    if troubled := [f"{name}: {status}" for name, status in rows if status != "online"]:
        raise Unhealthy(", ".join(troubled))
    return ", ".join(name for name, _ in rows)


def clock() -> str:
    with Session(db.engine) as session:
        theirs: datetime = session.scalars(select(func.clock_timestamp())).one()
    off_s = (datetime.now(UTC) - theirs).total_seconds()
    if abs(off_s) > CLOCK_S:
        raise Unhealthy(f"this machine's clock and the database's differ by {abs(off_s):.1f} s")
    return f"{abs(off_s) * 1000:.0f} ms from the database's"


def disk() -> str:
    folder = get_settings().data_dir
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(PROBE)
    free = shutil.disk_usage(folder).free / GIB
    if free < DISK_GIB:
        raise Unhealthy(f"{free:.1f} GiB are free in {folder}; a run needs room for its files and Terraform's state")
    return f"{free:.0f} GiB free in {folder}"


# What is asked by load balancers; a doctor asks more.
CHECKS: dict[str, Callable[[], str]] = {
    "database": database, "keys": keys, "redis": redis, "broker": broker_, "workers": workers, "terraform": terraform, "provider": provider, "cluster": cluster,
}  # fmt: skip
NEEDED = ("database", "keys")
