"""The instance's database, also while the instance is stopped: its embedded PostgreSQL is then started for as long as needed."""

import contextlib
import time
from collections.abc import Iterator

from app.config import ConfigError, Settings
from embedded.postgres import Postgres
from embedded.process import StartError
from launcher import logs
from launcher.instance import Instance, Pids, Refusal, locked

UP_S = 90
LOOK_S = 0.05


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the URL of the database, which answers meanwhile. Raises Refusal, ConfigError."""
    if settings.configured_database or Pids(settings.data_dir).alive("postgres"):
        yield settings.database_url
        return
    if not settings.database_url or not (settings.data_dir / "postgres" / "data").is_dir():
        raise ConfigError(f"no database: nothing was started in {settings.data_dir} yet; set DATA_DIR or DATABASE_URL")
    with locked(settings.data_dir), embedded(settings) as url:
        yield url


@contextlib.contextmanager
def embedded(settings: Settings) -> Iterator[str]:
    """Run the embedded PostgreSQL of a DATA_DIR that the caller has locked. Raises Refusal."""
    instance = Instance(settings.data_dir)
    log = logs.log_path(settings.data_dir, "postgres")
    logs.open_log(log).close()
    server = Postgres(settings.data_dir / "postgres" / "data", instance.port("postgres_port"), instance.text("postgres_secret"), log)
    try:
        server.start()
        end = time.monotonic() + UP_S
        while not server.ready():
            if time.monotonic() > end:
                raise Refusal(f"PostgreSQL did not come up within {UP_S} s ({log})")
            time.sleep(LOOK_S)
        yield server.url
    except StartError as exc:
        raise Refusal(str(exc)) from None
    finally:
        server.stop()
