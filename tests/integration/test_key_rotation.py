"""Rotating keys: everything that is stored comes under the newest key, once, and what cannot be read is named."""

import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import LargeBinary, select, update

from app.adapters import crypto
from app.config import ROOT
from app.extensions import db
from app.models import AuditEvent, Base, Cluster, Destination, SavedPlan, StateVersion
from app.services import key_rotation
from app.services.uow import unit_of_work
from tests.integration import crowd, rows

NEW = "a-newer-key-that-nothing-was-encrypted-with-yet-0001"
N = 3


def rotated(keys: str) -> "subprocess.CompletedProcess[str]":
    """Ask for it as an administrator does, with these keys."""
    env = {**os.environ, "ENCRYPTION_KEYS": keys}
    return subprocess.run([sys.executable, str(ROOT / "run.py"), "rotate-keys"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def sealed(make_user) -> None:
    """Some of everything that is stored encrypted, under the key of these tests."""
    crowd.crowd(make_user("administrator", "root"), N)
    with unit_of_work() as uow:
        for table, name in key_rotation.sealed():
            uow.session.execute(update(table).values({name: crypto.seal(table.name.encode())}))


def opened_by(key: str, table, name: str) -> int:
    """How many values of a column a key alone opens."""
    box, count = Fernet(crypto._fernet_key(key)), 0
    with db.engine.connect() as conn:
        for value in conn.scalars(select(table.c[name])):
            try:
                box.decrypt(bytes(value))
                count += 1
            except InvalidToken:
                pass
    return count


def total(table) -> int:
    with db.engine.connect() as conn:
        return len(conn.execute(select(table.c.id)).all())


def test_all_that_is_stored_encrypted_is_known():
    found = {(table.name, name) for table, name in key_rotation.sealed()}
    assert found == {(kind.__tablename__, name) for kind, name in ((Cluster, "secret"), (Destination, "url"), (SavedPlan, "body"), (StateVersion, "body"))}
    assert found == {(t.name, c.name) for t in Base.metadata.tables.values() for c in t.columns if isinstance(c.type, LargeBinary)}


@pytest.mark.usefixtures("sealed")
def test_afterwards_the_newest_key_alone_opens_everything():
    old = os.environ["ENCRYPTION_KEYS"]
    done = rotated(f"{NEW},{old}")
    assert done.returncode == 0, done.stderr
    for table, name in key_rotation.sealed():
        assert opened_by(NEW, table, name) == total(table) >= N, table.name
        assert opened_by(old, table, name) == 0, table.name
        assert f"{table.name}.{name}: {total(table)} encrypted anew, 0 were already" in done.stdout
    again = rotated(NEW)
    assert again.returncode == 0 and "cluster.secret: 0 encrypted anew" in again.stdout
    [first, _] = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "keys.rotate").order_by(AuditEvent.id)).all()
    assert first.detail["state_version.body"] == total(StateVersion.__table__) and NEW not in str(first.detail)


def test_what_no_key_opens_is_named_and_left_as_it_is_while_the_rest_is_done():
    lost = rows.cluster()
    with unit_of_work() as uow:
        uow.session.add(Cluster(name="readable", endpoint="https://192.0.2.2:8006", auth_id="a@pve!b", secret=crypto.encrypt(b"s")))
    done = rotated(f"{NEW},{os.environ['ENCRYPTION_KEYS']}")
    assert done.returncode == 2 and f"cluster.secret of {lost.id}: add the key" in done.stderr
    assert "cluster.secret: 1 encrypted anew" in done.stdout
    assert db.session.scalar(select(Cluster.secret).where(Cluster.id == lost.id)) == b"x"


def test_without_a_new_key_nothing_is_written(make_user):
    with unit_of_work() as uow:
        uow.session.add(Cluster(name="lab", endpoint="https://192.0.2.1:8006", auth_id="a@pve!b", secret=crypto.encrypt(b"s")))
    before = db.session.scalar(select(Cluster.secret))
    db.session.remove()
    assert "cluster.secret: 0 encrypted anew, 1 were already" in rotated(os.environ["ENCRYPTION_KEYS"]).stdout
    assert db.session.scalar(select(Cluster.secret)) == before
