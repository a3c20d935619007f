"""Gunicorn's configuration: `gunicorn -c app/gunicorn_conf.py app.wsgi:app`."""

from gevent import monkey

# The application is loaded once, in the master, and shared by its workers (measured against loading it in each: 90 MB
# and a fifth of the processor time of a start). So it is the master where nothing may be imported before this.
monkey.patch_all()

import ctypes  # noqa: E402
import gc  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from psycogreen.gevent import patch_psycopg  # noqa: E402
from sqlalchemy.orm import configure_mappers  # noqa: E402

from app.config import get_settings  # noqa: E402

patch_psycopg()
_settings = get_settings()

bind = f"{_settings.bind}:{_settings.port}"
workers = _settings.web_workers
worker_class = "gevent"
worker_connections = 10_000
keepalive = 15
timeout = 60
# Open event streams would hold up a stop for as long as this.
graceful_timeout = 3
preload_app = True
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - heartbeat files, must not touch a disk
accesslog = None
errorlog = "-"
loglevel = "warning"


def when_ready(_server: Any) -> None:
    """Before the first fork: what loading began ends here, and what was loaded stays shared."""
    configure_mappers()
    with _application().test_client() as client:
        client.get("/healthz")
    gevent.sleep(0.05)
    gc.collect()
    gc.freeze()


def post_fork(_server: Any, _worker: Any) -> None:
    """In each worker: it ends with its master, and tells what happened behind its answers."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
    # What lives long is frozen; what a request leaves is freed by its counts, all but ten objects. The default looks for cycles
    # several times in each request; ten times rarer than this and one look stops everybody for 40 ms.
    gc.set_threshold(5_000, 20, 100)
    from app.services import outbox  # noqa: PLC0415 - loaded by the application

    outbox.deliver_in_background(_application())


def worker_exit(_server: Any, _worker: Any) -> None:
    """At a worker's end: what was to be told is told, and not told again."""
    from app.services import outbox  # noqa: PLC0415

    with _application().app_context():
        outbox.finish()


def _application() -> Any:
    from app.wsgi import app  # noqa: PLC0415 - the one that gunicorn serves

    return app
