"""Whether one part is healthy, for container engines: `python -m launcher.healthcheck web|worker|beat|flower|database`.

Exit code 0 when it is; else 1 with one line that says what is missing. The database is healthy once `run.py migrate` has
brought it to this program's revision, or a newer program to a newer one.
"""

import argparse
import http.client
import socket
import sys

from app.config import ConfigError, Settings, load_settings
from launcher import parts, sign_of_life

TIMEOUT_S = 3
# Beat rings every two seconds.
SILENT_S = 30


def unhealthy(part: str, settings: Settings) -> str:
    """What is wrong with the part; nothing when it is healthy."""
    match part:
        case "web":
            return _page(settings.port, "/healthz")
        case "flower":
            return _page(settings.flower_port, "/healthcheck")
        case "database":
            return database_fault(settings)
        case "beat":
            age = sign_of_life.age_s(parts.schedule(settings))
            return "" if age is not None and age < SILENT_S else f"no message for {SILENT_S} s"
        case _:
            return _worker()


def _page(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"{path} does not answer: {type(exc).__name__}"
    finally:
        connection.close()
    return "" if status == 200 else f"{path} answers {status}"


def database_fault(settings: Settings) -> str:
    """What keeps the database from being used by this program; nothing when it can."""
    from alembic.migration import MigrationContext  # noqa: PLC0415 - the others need not wait for it
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415

    from app.database import alembic_config  # noqa: PLC0415

    ours = ScriptDirectory.from_config(alembic_config(settings))
    engine = create_engine(settings.database_url, connect_args={"connect_timeout": TIMEOUT_S})
    try:
        with engine.connect() as connection:
            theirs = set(MigrationContext.configure(connection).get_current_heads())
    except OperationalError:
        return "the database does not answer"
    finally:
        engine.dispose()
    older = {script.revision for script in ours.walk_revisions()} - set(ours.get_heads())
    return "the database waits for its migration" if not theirs or theirs & older else ""


def _worker() -> str:
    """Ask the workers of this machine; a container has one."""
    from kombu.exceptions import KombuError, OperationalError  # noqa: PLC0415 - a third of a second that the others need not wait
    from redis.exceptions import RedisError  # noqa: PLC0415

    from app.adapters.broker import celery  # noqa: PLC0415

    pattern = f"*@{socket.gethostname()}"
    try:
        answers = celery.control.broadcast("ping", reply=True, timeout=TIMEOUT_S, limit=1, pattern=pattern, matcher="glob")
    except (KombuError, OperationalError, RedisError, OSError) as exc:
        return f"the broker does not answer: {type(exc).__name__}"
    return "" if answers else f"no worker {pattern} answers"


def main() -> int:
    """Judge one part; the exit code."""
    parser = argparse.ArgumentParser(prog="healthcheck")
    parser.add_argument("part", choices=("web", "worker", "beat", "flower", "database"))
    try:
        fault = unhealthy(parser.parse_args().part, load_settings())
    except ConfigError as exc:
        fault = f"configuration: {exc}"
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
