"""The health checks by themselves."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg2
import pytest

from tests.containers.conftest import Stores
from tests.containers.tools import ROOT, said


@pytest.fixture
def environment(stores: Stores) -> Iterator[dict[str, str]]:
    """Settings with a database of their own, in which nothing is."""
    password = stores.secret("postgres_password").read_text()
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=stores.postgres_port, user="app", password=password, dbname="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("create database fresh")
            yield {
                "PATH": os.defpath, **stores.environment, "DATABASE_URL": f"postgresql://app:{password}@127.0.0.1:{stores.postgres_port}/fresh",
                "REDIS_PASSWORD": stores.secret("redis_password").read_text(), "DATA_DIR": str(stores.place / "health"), "SIMULATOR": "off",
                "SECRET_KEY": "k" * 40, "ENCRYPTION_KEYS": "e" * 40,
            }  # fmt: skip
            cursor.execute("drop database fresh with (force)")


def asked(environment: dict[str, str], *argv: str) -> "subprocess.CompletedProcess[str]":
    return said([sys.executable, *argv], cwd=ROOT, env=environment)


def test_parts_wait_until_the_database_is_of_their_revision_or_a_newer_one(environment: dict[str, str]) -> None:
    check = ("-m", "launcher.healthcheck", "database")
    assert (asked(environment, *check).returncode, asked(environment, *check).stderr) == (1, "the database waits for its migration\n")
    assert asked(environment, "run.py", "migrate").returncode == 0
    assert asked(environment, *check).returncode == 0
    with contextlib.closing(psycopg2.connect(environment["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute("update alembic_version set version_num = 'from_later'")
        connection.commit()
        assert asked(environment, *check).returncode == 0, "a newer program was here: this one is being replaced"
        oldest = sorted((ROOT / "app/migrations/versions").glob("[0-9a-z]*.py"))[0].name.partition("_")[0]
        cursor.execute("update alembic_version set version_num = %s", (oldest,))
        connection.commit()
    assert asked(environment, *check).returncode == 1


def test_a_database_that_is_away_is_one_line(environment: dict[str, str]) -> None:
    done = asked(environment | {"DATABASE_URL": "postgresql://app:x@127.0.0.1:1/none"}, "-m", "launcher.healthcheck", "database")
    assert (done.returncode, done.stderr) == (1, "the database does not answer\n")
