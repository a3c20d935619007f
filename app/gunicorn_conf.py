"""Gunicorn's configuration: `gunicorn -c app/gunicorn_conf.py app.wsgi:app`."""

import ctypes
import os
import signal
import sys
from typing import Any

from app.config import get_settings

_settings = get_settings()

bind = f"{_settings.bind}:{_settings.port}"
workers = _settings.web_workers
worker_class = "gevent"
worker_connections = 10_000
keepalive = 15
timeout = 60
# Open event streams would hold up a stop for as long as this.
graceful_timeout = 3
preload_app = False
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - heartbeat files, must not touch a disk
accesslog = None
errorlog = "-"
loglevel = "warning"


def post_fork(_server: Any, _worker: Any) -> None:
    """In each worker: psycopg2 yields to gevent, and the worker ends with its master."""
    from psycogreen.gevent import patch_psycopg  # noqa: PLC0415 - not in the master

    patch_psycopg()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
