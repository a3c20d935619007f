"""`run.py doctor`: everything that has to be there, looked at one after the other, and what to do about what is not.

    ok   database    PostgreSQL answers, at this program's revision
    BAD  worker      no worker has reported yet
                     Start one: python run.py worker …
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from app.config import ConfigError, Settings, check_complete, load_settings
from launcher.healthcheck import database_fault


@dataclass(frozen=True)
class Found:
    """One thing: `advice` only when something is wrong with it."""

    name: str
    ok: bool
    text: str
    advice: str = ""


ADVICE: dict[str, str] = {
    "database": "Start it, or correct DATABASE_URL. Asked by hand: pg_isready -d \"$DATABASE_URL\". An older revision: python run.py migrate.",
    "keys": "Set SECRET_KEY and ENCRYPTION_KEYS as they were when the data was written: python run.py restore brings them back from a backup.",
    "redis": "Start it, or correct REDIS_HOST and REDIS_PASSWORD. Asked by hand: redis-cli -h HOST -a PASSWORD ping. People sign in again after that, nothing else is lost.",
    "broker": "Start it, or correct CELERY_BROKER_URL. What was asked for meanwhile is kept in the database and goes on by itself.",
    "worker": "Start one: python run.py worker. It serves all queues; -Q terraform or -Q proxmox,default divides them. And a clock: python run.py beat.",
    "terraform": "Install Terraform 1.9 or newer, or name it in TERRAFORM_BIN; python bootstrap.py brings one.",
    "provider": "python bootstrap.py builds it, or name a filesystem mirror that has it in TPM_PROVIDER_MIRROR.",
    "cluster": "Admin → Clusters → the cluster → Test connection says which part of it is wrong.",
    "clock": "Let both keep their time by NTP: timedatectl set-ntp true. Leases and schedules are judged by the database's clock.",
    "disk": "Make room, or move DATA_DIR. Work directories of ended runs are removed by themselves.",
}


def examine() -> Iterator[Found]:
    """Look at one thing after the other. Nothing is changed."""
    try:
        settings = load_settings()
        check_complete(settings)
    except ConfigError as exc:
        yield Found("configuration", False, str(exc), "Correct it in the environment or .env; .env.example explains every name.")
        return
    yield Found("configuration", True, f"{settings.app_env}, DATA_DIR {settings.data_dir}")
    yield from _inside(settings)


def _inside(settings: Settings) -> Iterator[Found]:
    from app.services import health
    from app.services.context import application

    database = _looked("database", lambda: _database(settings))
    yield database
    with application(settings):
        yield _looked("keys", health.stored_secrets if database.ok else health.keys)
        yield _looked("redis", health.redis)
        yield _looked("broker", health.broker_)
        if database.ok:
            yield _looked("worker", health.workers)
        yield _looked("terraform", health.terraform)
        yield _looked("provider", health.provider)
        if database.ok:
            yield from _clusters()
            yield _looked("clock", health.clock)
        yield _looked("disk", health.disk)
    if not database.ok:
        yield Found("worker, cluster, clock", False, "not looked at: they are asked through the database", "Begin with the database.")


def _looked(name: str, look: Callable[[], str]) -> Found:
    from redis.exceptions import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    from app.errors import AppError
    from app.services.health import Unhealthy

    try:
        return Found(name, True, look())
    except Unhealthy as exc:
        text = str(exc)
    except AppError as exc:
        from app.messages import text_of

        text = " ".join(filter(None, (text_of(exc.code, exc.args_), exc.detail)))
    except SQLAlchemyError as exc:
        text = str(getattr(exc, "orig", exc)).strip().splitlines()[0]
    except (RedisError, OSError, ValueError, ImportError) as exc:
        text = f"{type(exc).__name__}: {exc}"
    return Found(name, False, text, ADVICE[name])


def _database(settings: Settings) -> str:
    from app.services.health import Unhealthy

    if fault := database_fault(settings):
        raise Unhealthy(fault)
    return "answers, at this program's revision"


def _clusters() -> Iterator[Found]:
    """Ask each cluster now, not what was known of it."""
    from sqlalchemy.orm import Session

    from app.errors import AppError
    from app.extensions import db
    from app.messages import hint_of, text_of
    from app.services import clusters

    with Session(db.engine) as session:
        there = clusters.connected(session)
        if not there:
            yield Found("cluster", False, "none is connected", "Connect one: Admin → Clusters, or PROXMOX_ENDPOINT and its token in the environment.")
        for cluster in there:
            try:
                with clusters.connection(cluster) as proxmox:
                    release = proxmox.version()
                    nodes = [node.online for node in proxmox.resources().nodes]
            except AppError as exc:
                args = {**exc.args_, "endpoint": cluster.endpoint, "auth_id": cluster.auth_id}
                yield Found("cluster", False, f"{cluster.name}: {text_of(exc.code, args)}", " ".join(filter(None, (hint_of(exc.code, args), ADVICE["cluster"]))))
            else:
                yield Found("cluster", True, f"{cluster.name}: Proxmox VE {release}, {sum(nodes)} of {len(nodes)} nodes online")


def run(*, as_json: bool = False) -> int:
    """Print what was found; the exit code is 1 when something is wrong."""
    wrong, found = 0, []
    for one in examine():
        wrong += not one.ok
        found.append(one)
        if not as_json:
            print(f"{'ok  ' if one.ok else 'BAD '} {one.name:<14} {one.text}", flush=True)
            if one.advice:
                print(f"{'':<19} {one.advice}", flush=True)
    if as_json:
        json.dump([asdict(one) for one in found], sys.stdout, indent=2)
        print()
    return 1 if wrong else 0
