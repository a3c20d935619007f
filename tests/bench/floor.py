"""The bare parts under the product's own kind of web server: the least that a request or an event can cost here.

    with floor(stack, place) as base: ...    # POST base/post, GET base/stream
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from tests.stack import ROOT, Stack, free_port

STREAM, QUEUE = "bench:floor", "bench-floor"
WORKERS, CONNECTIONS = 2, 10_000  # as app/gunicorn_conf.py and WEB_WORKERS have them
THREADS = 8


def instance(stack: Stack) -> dict[str, Any]:
    """Return the addresses of the instance's own database and Redis."""
    found: dict[str, Any] = json.loads((stack.data_dir / "instance.json").read_text(encoding="utf-8"))
    return found


@contextlib.contextmanager
def floor(stack: Stack, place: Path, *, threads: bool = False) -> Iterator[str]:
    """Start the bare application on the instance's own PostgreSQL and Valkey; returns its address.

    With `threads` under gunicorn's thread workers, two with eight threads each, as such a route is usually served.
    """
    addresses, port = instance(stack), free_port()
    database = addresses["database_url"].replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(database)) as made, made, made.cursor() as cursor:
        cursor.execute("create table if not exists bench_floor (id bigserial primary key, name text, at timestamptz default now())")
    env = {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": str(place), "PYTHONPATH": str(ROOT),
        "FLOOR_DATABASE": database, "FLOOR_REDIS": addresses["redis_url"], "FLOOR_THREADS": "1" if threads else "",
    }  # fmt: skip
    kind = ["-k", "gthread", "--threads", str(THREADS)] if threads else ["-k", "gevent", "--worker-connections", str(CONNECTIONS)]
    argv = [
        sys.executable, "-m", "gunicorn", *kind, "-w", str(WORKERS),
        "--keep-alive", "15", "--graceful-timeout", "1", "--no-control-socket", "--log-level", "warning", "-b", f"127.0.0.1:{port}", "tests.bench.floor_web:app",
    ]  # fmt: skip
    with (place / "floor.log").open("ab") as out:
        server = subprocess.Popen(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        base = f"http://127.0.0.1:{port}"
        _await_answer(base, server, place / "floor.log")
        yield base
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(5)


def _await_answer(base: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(base + "/", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"the bare application did not start:\n{log.read_text(encoding='utf-8')[-1500:]}")
