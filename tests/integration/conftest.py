"""Fixtures on a real PostgreSQL and Valkey: an empty database for every test, people, and clients signed in as them.

    def test_a_developer_sees_nothing_of_others(make_user, client_for):
        client = client_for(make_user("developer"))            # Authorization: Bearer
        browser = client_for(make_user("viewer"), "cookie")    # session cookie, sends the CSRF token
        assert client.get("/api/servers").json["items"] == []

Tests run inside an application context; each request of a client has a fresh one of its own.
"""

import contextvars
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import create_engine, text

from app import create_app, database
from app.adapters import passwords
from app.config import get_settings
from app.domain.permissions import Role
from app.extensions import db
from app.models import Base, User
from app.services import server_stock, sessions, tokens
from app.services.actor import Actor
from app.services.uow import unit_of_work
from app.streaming import events
from embedded.postgres import Postgres
from embedded.valkey import Valkey
from tests import conftest as environment

USER_PASSWORD = "correct horse battery"  # noqa: S105 - of users that live for one test
CSRF = "0123456789abcdef" * 4
ROOT = Path(__file__).parents[2]


def until(ready: Callable[[], bool], limit_s: float = 20) -> None:
    """Wait for something that is on its way; fails when it does not come."""
    end = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s")
        time.sleep(0.01)


class Client(FlaskClient):
    """A client whose requests do not see the test's own application context."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return contextvars.Context().run(super().open, *args, **kwargs)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folder = environment.DATA_DIR / "postgres"
    folder.mkdir(parents=True)
    server = Postgres(folder / "data", environment.POSTGRES_PORT, environment.PASSWORD, folder / "log")
    server.start()
    until(server.ready)
    engine = create_engine(get_settings().database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        # Nothing here outlives the machine.
        for option in ("fsync", "synchronous_commit", "full_page_writes"):
            conn.execute(text(f"alter system set {option} = off"))
        conn.execute(text("select pg_reload_conf()"))
    engine.dispose()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    folder = environment.DATA_DIR / "valkey"
    folder.mkdir(parents=True)
    server = Valkey(folder / "data", environment.VALKEY_PORT, environment.PASSWORD, folder / "log")
    server.start()
    until(server.ready)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def app(postgres: Postgres, valkey: Valkey) -> Iterator[Flask]:
    settings = get_settings()
    if any((Path(database.__file__).parent / "migrations" / "versions").glob("*.py")):
        database.upgrade(settings)
    else:
        engine = create_engine(settings.database_url)
        Base.metadata.create_all(engine)
        engine.dispose()
    made = create_app(settings)
    made.test_client_class = Client
    yield made
    with made.app_context():
        db.engine.dispose()


@pytest.fixture(scope="session")
def store(valkey: Valkey) -> Iterator["redis.Redis"]:
    """A Redis client of the tests' own."""
    client = redis.Redis.from_url(get_settings().redis_url, decode_responses=True)
    yield client
    client.close()


def emptied() -> None:
    """Remove all rows."""
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    with db.engine.begin() as conn:
        conn.execute(text(f"truncate {tables} restart identity cascade"))


@pytest.fixture(autouse=True)
def _clean(app: Flask, store: "redis.Redis") -> Iterator[None]:
    """An application context, an empty database and an empty Valkey."""
    with app.app_context():
        emptied()
        # The stream itself stays: readers of a web server take its loss for a lost Redis and end every client.
        if keys := [key for key in store.scan_iter(count=1000) if key != events.STREAM]:
            store.delete(*keys)
        events.after_fork()
        sessions._memory.storage.reset()  # noqa: SLF001 - state of the process, not of the database
        tokens._last_noted.clear()  # noqa: SLF001
        server_stock._starts.clear()  # noqa: SLF001
        yield
        db.session.remove()


@pytest.fixture
def told(store: "redis.Redis") -> Callable[[], list[tuple[str, str, dict[str, Any]]]]:
    """`told()`: what browsers were told since the test began, as (audience, type, data)."""
    newest = store.xrevrange(events.STREAM, count=1)
    head = newest[0][0] if newest else "0-0"
    return lambda: [(f["a"], f["e"], json.loads(f["d"])) for _, f in store.xrange(events.STREAM, f"({head}")]


@pytest.fixture(scope="session")
def _password_hash() -> str:
    return passwords.hash_password(USER_PASSWORD)


@pytest.fixture
def make_user(_password_hash: str) -> Callable[..., User]:
    """`make_user("operator", "olga")`: an active user with USER_PASSWORD."""
    count = 0

    def make(role: str | Role = Role.DEVELOPER, username: str = "", **more: Any) -> User:
        nonlocal count
        count += 1
        with unit_of_work() as uow:
            user = User(
                username=username or f"{Role(role).value}-{count}",
                role=Role(role),
                **{"password_hash": _password_hash, "password_is_first": False, **more},
            )
            uow.session.add(user)
        return user

    return make


@pytest.fixture
def dora(make_user: Callable[..., User]) -> User:
    """A developer: sees and changes what is hers."""
    return make_user("developer", "dora")


@pytest.fixture
def olga(make_user: Callable[..., User]) -> User:
    """An operator: sees and changes everything."""
    return make_user("operator", "olga")


@pytest.fixture
def actor_of() -> Callable[[User], Actor]:
    """The actor that the services take."""
    return lambda user: Actor.of(user, "192.0.2.7")


@pytest.fixture
def token_of() -> Callable[[User], str]:
    """A fresh API token of the user."""
    return lambda user: tokens.issue_token(user.username, "test")


@pytest.fixture
def client_for(app: Flask, token_of: Callable[[User], str]) -> Callable[..., Client]:
    """A client of the user, by token, or with "cookie" like a browser."""

    def make(user: User | None = None, by: str = "bearer") -> Client:
        client = app.test_client()
        assert isinstance(client, Client)
        if user is not None and by == "bearer":
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token_of(user)}"
        elif user is not None:
            contextvars.Context().run(_sign_in, client, user)
            signer = URLSafeTimedSerializer(str(app.secret_key), salt="wtf-csrf-token")
            client.environ_base["HTTP_X_CSRFTOKEN"] = str(signer.dumps(CSRF))
        return client

    return make


def _sign_in(client: Client, user: User) -> None:
    with client.session_transaction() as session:
        session["_user_id"] = user.get_id()
        session["csrf_token"] = CSRF


@pytest.fixture(scope="session")
def web(app: Flask) -> Iterator[str]:
    """The real web server with two processes; its address."""
    log = (environment.DATA_DIR / "web.log").open("wb")
    argv = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "app" / "gunicorn_conf.py"), "app.wsgi:app"]
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "WEB_WORKERS": "2"}, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{environment.WEB_PORT}"

    def answers() -> bool:
        assert process.poll() is None, (environment.DATA_DIR / "web.log").read_text()[-3000:]
        try:
            return bool(urlopen(f"{url}/healthz", timeout=1).status == 200)  # noqa: S310
        except OSError:
            return False

    try:
        until(answers, 60)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
