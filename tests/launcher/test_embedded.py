"""PostgreSQL and Valkey as children: they start, keep their data, and never outlive whoever started them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from embedded.postgres import DATABASE, USER, Postgres
from embedded.process import StartError, is_same, start_time, wait_gone
from embedded.valkey import Valkey
from launcher.instance import free_port

PASSWORD = "a-password-of-the-tests"
ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import json, sys, time
from pathlib import Path
from embedded.postgres import Postgres
from embedded.valkey import Valkey
base, pg_port, vk_port, password = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
servers = [Postgres(base / "postgres" / "data", pg_port, password, base / "pg.log"), Valkey(base / "valkey", vk_port, password, base / "vk.log")]
for s in servers: s.start()
while not all(s.ready() for s in servers): time.sleep(0.01)
print(json.dumps([s.process.pid for s in servers]), flush=True)
sys.stdin.read()
"""


def until(ready: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, "did not become ready"
        time.sleep(0.01)


@contextlib.contextmanager
def connected(port: int, password: str = PASSWORD) -> Iterator[psycopg2.extensions.connection]:
    conn = psycopg2.connect(host="127.0.0.1", port=port, user=USER, dbname=DATABASE, password=password)
    try:
        yield conn
    finally:
        conn.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    first = free_port(set())
    return first, free_port({first})


def test_data_survives_a_clean_stop(place: Path, ports: tuple[int, int]) -> None:
    for turn in (1, 2):
        postgres = Postgres(place / "postgres" / "data", ports[0], PASSWORD, place / "pg.log")
        valkey = Valkey(place / "valkey", ports[1], PASSWORD, place / "vk.log")
        postgres.start()
        valkey.start()
        until(lambda p=postgres, v=valkey: p.ready() and v.ready())  # type: ignore[misc]
        client = redis.Redis(port=ports[1], password=PASSWORD)
        with connected(ports[0]) as conn, conn.cursor() as cursor:
            if turn == 1:
                cursor.execute("create table kept (n int); insert into kept values (42)")
                conn.commit()
                client.set("kept", "42")
            cursor.execute("select n from kept")
            assert cursor.fetchone() == (42,)
            assert client.get("kept") == b"42"
        client.close()
        valkey.stop()
        postgres.stop()
        assert postgres.process is not None
        assert postgres.process.returncode == 0


def test_killing_the_parent_ends_both_and_loses_nothing_committed(place: Path, ports: tuple[int, int]) -> None:
    argv = [sys.executable, "-c", CHILD, str(place), str(ports[0]), str(ports[1]), PASSWORD]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        identities = [(pid, start_time(pid)) for pid in pids]
        with connected(ports[0]) as conn, conn.cursor() as cursor:
            cursor.execute("insert into kept values (43)")
            conn.commit()
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    for pid, began in identities:
        assert began is not None
        assert wait_gone(pid, began, 10)
    postgres = Postgres(place / "postgres" / "data", ports[0], PASSWORD, place / "pg.log")
    postgres.start()
    until(postgres.ready)
    with connected(ports[0]) as conn, conn.cursor() as cursor:
        cursor.execute("select count(*) from kept")
        assert cursor.fetchone() == (2,)
    postgres.stop()


def test_a_killed_server_that_its_parent_has_not_reaped_yet_does_not_stand_in_the_way(place: Path, ports: tuple[int, int]) -> None:
    killed = Postgres(place / "postgres" / "data", ports[0], PASSWORD, place / "pg.log")
    process = killed.start()
    until(killed.ready)
    process.kill()
    reaper = threading.Timer(1, process.wait)
    reaper.start()
    server = Postgres(place / "postgres" / "data", ports[0], PASSWORD, place / "pg.log")
    server.start()
    until(server.ready)
    server.stop()
    reaper.join()


def test_a_wrong_password_is_refused(place: Path, ports: tuple[int, int]) -> None:
    postgres = Postgres(place / "postgres" / "data", ports[0], PASSWORD, place / "pg.log")
    valkey = Valkey(place / "valkey", ports[1], PASSWORD, place / "vk.log")
    postgres.start()
    valkey.start()
    until(lambda: postgres.ready() and valkey.ready())
    try:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"), connected(ports[0], "wrong"):
            pass
        client = redis.Redis(port=ports[1], password="wrong")
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        client.close()
    finally:
        valkey.stop()
        postgres.stop()


def test_no_password_stands_in_a_process_list(place: Path, ports: tuple[int, int]) -> None:
    valkey = Valkey(place / "valkey", ports[1], PASSWORD, place / "vk.log")
    process = valkey.start()
    until(valkey.ready)
    assert PASSWORD.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    valkey.stop()


def test_a_port_in_use_is_a_start_error_with_the_log(place: Path, ports: tuple[int, int]) -> None:
    first = Valkey(place / "valkey", ports[1], PASSWORD, place / "vk.log")
    first.start()
    until(first.ready)
    second = Valkey(place / "other", ports[1], PASSWORD, place / "vk2.log")
    try:
        with pytest.raises(StartError, match="Valkey did not start"):
            second.start()
            until(second.ready)
    finally:
        first.stop()


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    began = start_time(os.getpid())
    assert began is not None
    assert is_same(os.getpid(), began)
    assert not is_same(os.getpid(), began - 1)
    assert start_time(2**22 + 1) is None
