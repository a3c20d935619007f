"""Loading the older application's data: people sign in as before, nothing is loaded twice, and a kill in the middle costs nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import func, select, text

from app.config import get_settings
from app.domain.permissions import Role
from app.extensions import db
from app.models import AuditEvent, Notification, Project, Server, UnmanagedServer, User
from app.services.uow import unit_of_work
from scripts import migrate_sqlite_to_postgres, restore_postgres_data
from scripts.older.loading import LOCK_KEY
from tests.fixtures.older import PASSWORD, older, typical
from tests.integration.conftest import ROOT, USER_PASSWORD, until

Make = Callable[..., Any]
ROWS = 2000


def backup_of(database: Path) -> Path:
    folder = database.with_name("backup")
    assert migrate_sqlite_to_postgres.main([str(database), str(folder)]) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return backup_of(typical(tmp_path / "old.db"))


@pytest.fixture
def load(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`load(folder)`: the exit code and what was printed."""

    def call(folder: Path, *flags: str) -> tuple[int, str]:
        capsys.readouterr()
        code = restore_postgres_data.main([str(folder), *flags])
        out = capsys.readouterr()
        return code, out.out + out.err

    return call


def all_of(model: Any) -> list[Any]:
    with unit_of_work() as uow:
        return list(uow.session.scalars(select(model).order_by(model.id)))


def totals() -> dict[str, int]:
    with unit_of_work() as uow:
        return {m.__tablename__: uow.session.scalar(select(func.count()).select_from(m)) or 0 for m in (Project, User, UnmanagedServer, Notification, Server)}


@pytest.mark.parametrize("flags", [(), ("--one-transaction",)])
def test_everything_comes_over_and_the_comparison_says_so(folder, load, flags):
    code, text_ = load(folder, *flags)
    assert code == 0, text_
    assert totals() == {"project": 1, "user": 3, "unmanaged_server": 2, "notification": 4, "server": 0}
    code, text_ = load(folder, "--verify")
    assert (code, text_.count(": equal:")) == (0, 4)


@pytest.mark.parametrize("username", ["admin", "dana"])
def test_an_older_password_signs_in_and_is_kept_in_todays_way_from_then_on(folder, load, client_for: Make, username):
    load(folder)
    before = {user.username: user.password_hash for user in all_of(User)}[username]
    assert before.startswith(("scrypt:", "pbkdf2:"))
    assert signed_in(client_for, username, "wrong") == 422
    assert signed_in(client_for, username, PASSWORD) == 303
    after = {user.username: user.password_hash for user in all_of(User)}[username]
    assert after.startswith("$argon2id$")
    assert signed_in(client_for, username, PASSWORD) == 303


def signed_in(client_for: Make, username: str, password: str) -> int:
    import re

    client = client_for()
    page = client.get("/login").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token
    return client.post("/login", data={"username": username, "password": password, "csrf_token": token[1]}).status_code


def test_people_keep_role_and_times_and_who_was_shut_out_stays_shut_out(folder, load, client_for: Make):
    load(folder)
    people = {user.username: user for user in all_of(User)}
    assert {name: user.role for name, user in people.items()} == {"admin": Role.ADMINISTRATOR, "dana": Role.DEVELOPER, "vera": Role.VIEWER}
    assert people["dana"].last_login_at.isoformat() == "2024-05-01T00:30:00.250000+00:00"
    assert signed_in(client_for, "vera", PASSWORD) == 422


def test_a_user_without_a_usable_password_signs_in_with_none(tmp_path, load, client_for: Make):
    load(backup_of(older(tmp_path / "old.db", users=[{"id": 1, "username": "dana", "password_hash": "open sesame"}])))
    assert [signed_in(client_for, "dana", password) for password in ("open sesame", "", "!")] == [422, 422, 422]


def test_old_notifications_keep_their_words_and_one_for_everybody_is_one_for_each(folder, load, client_for: Make):
    load(folder)
    dana = next(user for user in all_of(User) if user.username == "dana")
    items = client_for(dana).get("/api/notifications").json["items"]
    assert {item["text"] for item in items} == {"서버 생성: web is there\ntook 40 s", "Disk full: on pve1"}
    browser = client_for(dana, "cookie")
    assert "서버 생성: web is there" in browser.get("/notifications").text
    assert "Disk full" in browser.get("/notifications?q=disk").text
    everybody = [note for note in all_of(Notification) if note.legacy_text.startswith("Disk")]
    assert len(everybody) == 3 and not any(note.read_at for note in everybody)


def test_loading_again_adds_nothing_and_lists_what_is_kept(folder, load):
    load(folder)
    before = totals()
    code, text_ = load(folder)
    assert (code, totals()) == (0, before)
    for line in ("projects: 0 loaded, 1 already there", "users: 0 loaded, 3 already there", "servers: 0 loaded, 2 already there", "notifications: 0 loaded, 4 already there"):
        assert line in text_
    assert "servers 1 (web): was there already and is kept as it is" in (folder / "loaded.jsonl").read_text() + text_


def test_what_exists_in_a_system_in_use_is_kept_and_listed(folder, load, make_user: Make, client_for: Make):
    mine = make_user("viewer", "dana")
    with unit_of_work() as uow:
        uow.session.add(Project(name="shop", four_eyes=True))
    code, text_ = load(folder)
    assert code == 0
    assert "users: 2 loaded, 1 already there" in text_
    assert "users 2 (dana): was there already and is kept as it is, with its password and role" in text_
    kept = next(user for user in all_of(User) if user.username == "dana")
    assert (kept.id, kept.role, signed_in(client_for, "dana", USER_PASSWORD), signed_in(client_for, "dana", PASSWORD)) == (mine.id, Role.VIEWER, 303, 422)
    assert [project.four_eyes for project in all_of(Project)] == [True]
    assert load(folder, "--verify")[0] == 0


def test_two_older_installations_do_not_get_into_each_others_way(tmp_path, load):
    for n, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        load(backup_of(older(tmp_path / name / "old.db", servers=[{"id": 1, "name": "web", "created_at": f"2024-01-0{n + 1}"}])))
    assert [server.name for server in all_of(UnmanagedServer)] == ["web", "web"]


def test_the_comparison_finds_a_row_that_is_gone_and_one_that_was_changed(folder, load):
    load(folder)
    with db.engine.begin() as conn:
        conn.execute(text("delete from notification where id = (select min(id) from notification)"))
        conn.execute(text("update unmanaged_server set vmid = 999 where name = 'web'"))
    code, text_ = load(folder, "--verify")
    assert code == 1
    assert [line.partition(":")[0] for line in text_.splitlines() if "DIFFERS" in line] == ["servers", "notifications"]


def test_a_load_leaves_its_row_in_the_audit_list(folder, load):
    load(folder, "--one-transaction")
    rows = [row for row in all_of(AuditEvent) if row.action == "older.load"]
    assert [(row.username, row.detail) for row in rows] == [("system", {"new": {"projects": 1, "users": 3, "servers": 2, "notifications": 4}})]


def test_only_one_load_works_at_a_time(folder, load):
    with psycopg2.connect(get_settings().database_url.replace("+psycopg2", "")) as other:
        other.cursor().execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        code, text_ = load(folder)
    other.close()
    assert (code, "another load is under way" in text_, totals()["user"]) == (1, True, 0)


def test_a_database_that_is_older_than_the_program_is_refused_with_the_way_out(folder, load):
    with db.engine.begin() as conn:
        conn.execute(text("alter table unmanaged_server rename to elsewhere"))
    try:
        code, text_ = load(folder)
    finally:
        with db.engine.begin() as conn:
            conn.execute(text("alter table elsewhere rename to unmanaged_server"))
    assert (code, "start the application once, or call run.py migrate" in text_, totals()["user"]) == (1, True, 0)


@pytest.mark.parametrize(("flags", "kept"), [((), {"project": 1, "user": 1, "unmanaged_server": ROWS, "notification": 0}), (("--one-transaction",), {"project": 0, "user": 0, "unmanaged_server": 0, "notification": 0})])
def test_a_load_that_is_killed_in_the_middle_is_finished_by_the_next_one(tmp_path, load, flags, kept):
    folder = backup_of(
        older(
            tmp_path / "old.db", projects=[{"id": 1, "name": "shop"}], users=[{"id": 1, "username": "dana"}], servers=[{"id": n, "name": f"s-{n}"} for n in range(1, ROWS + 1)],
            notifications=[{"id": n, "title": f"n-{n}", "user_id": 1, "created_at": "2024-01-01"} for n in range(1, ROWS + 1)],
        )
    )  # fmt: skip
    connection = psycopg2.connect(get_settings().database_url.replace("+psycopg2", ""))
    # Notifications cannot be written while this is held: the loading process stands in the middle of its work.
    connection.cursor().execute("lock table notification in exclusive mode")
    process = subprocess.Popen([sys.executable, "scripts/restore_postgres_data.py", str(folder), *flags], cwd=ROOT, env=dict(os.environ), stdout=subprocess.DEVNULL)
    until(lambda: waiting() == 1, 30)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    connection.rollback()
    connection.close()
    until(lambda: waiting() == 0, 30)
    assert {name: totals()[name] for name in kept} == kept
    code, text_ = load(folder, *flags)
    assert code == 0, text_
    assert totals() == {"project": 1, "user": 1, "unmanaged_server": ROWS, "notification": ROWS, "server": 0}
    assert load(folder, "--verify")[0] == 0


def waiting() -> int:
    """How many sessions write notifications, or wait until they may."""
    with db.engine.connect() as conn:
        return conn.execute(text("select count(*) from pg_stat_activity where query like 'insert into notification%' and state = 'active'")).scalar_one()


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        ({"DATABASE_URL": "postgresql://app:x@127.0.0.1:1/postgres"}, 1, "the database does not answer; is the instance running?"),
        ({"DATABASE_URL": ""}, 2, "no database: set DATABASE_URL"),
        ({"DATABASE_URL": "mysql://x"}, 2, "DATABASE_URL is wrong"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(folder, more, code, sentence):
    done = subprocess.run([sys.executable, "scripts/restore_postgres_data.py", str(folder)], cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, sentence in done.stderr, len(done.stderr.strip().splitlines())) == (code, True, 1), done.stderr
