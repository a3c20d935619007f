"""The environment of the tests, set before anything of the application is imported. Nothing is started here."""

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings


pytest_plugins = ("tests.fixtures.simulator",)


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


DATA_DIR = Path(tempfile.mkdtemp(prefix="tpm-test-"))
PASSWORD = secrets.token_urlsafe(16)
POSTGRES_PORT, VALKEY_PORT, WEB_PORT = free_port(), free_port(), free_port()
ENVIRONMENT = {
    "APP_ENV": "test",
    "DATA_DIR": str(DATA_DIR),
    "DATABASE_URL": f"postgresql://app:{PASSWORD}@127.0.0.1:{POSTGRES_PORT}/postgres",
    "REDIS_HOST": "127.0.0.1",
    "REDIS_PORT": str(VALKEY_PORT),
    "REDIS_PASSWORD": PASSWORD,
    "SECRET_KEY": secrets.token_urlsafe(48),
    "ENCRYPTION_KEYS": secrets.token_urlsafe(48),
    "SIMULATOR": "off",
    "PORT": str(WEB_PORT),
    "ENV_FILE": str(DATA_DIR / "no.env"),
}
for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)
    os.environ.pop(f"{_name.upper()}_FILE", None)
os.environ.update(ENVIRONMENT)


@pytest.fixture(scope="session", autouse=True)
def _data_dir() -> Iterator[None]:
    yield
    shutil.rmtree(DATA_DIR, ignore_errors=True)
