"""PostgreSQL and Valkey for parts that run as their containers would."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embedded.postgres import Postgres
from embedded.valkey import Valkey
from tests.stack import eventually, free_port

SECRETS = ("secret_key", "encryption_keys", "postgres_password", "redis_password", "flower_password", "broker_url", "proxmox_token_secret")


@dataclass
class Stores:
    """Where the two answer, and the files with the secrets."""

    place: Path
    postgres_port: int = field(default_factory=free_port)
    redis_port: int = field(default_factory=free_port)

    def secret(self, name: str) -> Path:
        return self.place / "secrets" / name

    @property
    def environment(self) -> dict[str, str]:
        """What differs from the Compose file: addresses."""
        return {
            "DATABASE_URL": f"postgresql://app@127.0.0.1:{self.postgres_port}/postgres", "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.redis_port), "ENV_FILE": os.devnull,
        }  # fmt: skip


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    """Both, empty."""
    made = Stores(Path(tempfile.mkdtemp(prefix="tpm-containers-")))
    (made.place / "secrets").mkdir()
    for name in SECRETS:
        made.secret(name).write_text(secrets.token_hex(24))
    postgres = Postgres(made.place / "postgres" / "data", made.postgres_port, made.secret("postgres_password").read_text(), made.place / "postgres.log")
    valkey = Valkey(made.place / "valkey", made.redis_port, made.secret("redis_password").read_text(), made.place / "valkey.log")
    for folder in ("postgres", "valkey"):
        (made.place / folder).mkdir()
    for server in (postgres, valkey):
        server.start()
    try:
        eventually(lambda: postgres.ready() and valkey.ready(), 60, "PostgreSQL and Valkey answer")
        yield made
    finally:
        for server in (postgres, valkey):
            server.stop()
        shutil.rmtree(made.place, ignore_errors=True)
