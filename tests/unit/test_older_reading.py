"""Reading the older database into a portable backup: what is in it, what is said, and every bad input in one sentence."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from scripts import migrate_sqlite_to_postgres as script
from scripts.older.old_schema import COLUMNS
from scripts.older.portable_backup import Backup
from tests.fixtures.older import WHEN, hashed, older, typical


@pytest.fixture
def read(tmp_path, capsys, monkeypatch):
    """`read(path)`: the exit code, the backup if there is one, and what was printed."""
    monkeypatch.setattr("scripts.older.old_schema.PATIENCE_S", 0.1)

    def call(path: Path, *flags: str):
        folder = tmp_path / "backup"
        code = script.main([str(path), str(folder), *flags])
        out = capsys.readouterr()
        return code, Backup.opened(folder) if folder.exists() else None, out.out + out.err

    return call


def lines(backup: Backup) -> list[str]:
    return [str(line) for line in backup.report()]


def test_everything_is_in_the_backup_with_its_times_in_utc(read, tmp_path):
    code, backup, text = read(typical(tmp_path / "old.db"))
    assert code == 0, text
    assert backup.tables == {"users": 3, "user_permissions": 2, "servers": 2, "notifications": 2, "datastores": 1, "projects": 1}
    web = next(backup.rows("servers"))
    assert (web["ip_addresses"], web["created_at"]) == (["10.0.0.5", "10.0.1.5"], "2024-05-01T00:30:00.250000+00:00")


def test_what_cannot_be_carried_over_is_listed_by_row(read, tmp_path):
    _, backup, text = read(typical(tmp_path / "old.db"))
    found = lines(backup)
    assert "users 1 (admin): full name and e-mail address have no place here" in found
    assert "user_permissions 2 (dana): nothing here corresponds to manage_firewall_groups" in found
    assert "servers 1 (web): the firewall group 'dmz' has no place here" in found
    assert "datastores 1 (local-lvm): storages are read from the cluster: not carried over" in found
    assert "servers 2 (db): the address 10.0.0.5 is also claimed by web" in found
    assert all(line in text for line in found)


def test_a_dry_run_reports_the_same_and_leaves_nothing(read, tmp_path):
    code, backup, text = read(typical(tmp_path / "old.db"), "--dry-run")
    assert (code, backup, "is also claimed by web" in text, "Nothing was written" in text) == (0, None, True, True)
    assert sorted(os.listdir(tmp_path)) == ["old.db"]


def test_another_zone_moves_the_times_that_have_none(read, tmp_path):
    _, backup, _ = read(older(tmp_path / "old.db", projects=[{"id": 1, "name": "a", "created_at": WHEN}]), "--timezone", "UTC")
    assert next(backup.rows("projects"))["created_at"] == "2024-05-01T09:30:00.250000+00:00"


def test_an_unknown_zone_is_refused_in_a_sentence(read, tmp_path, capsys):
    with pytest.raises(SystemExit):
        read(typical(tmp_path / "old.db"), "--timezone", "Mars/Olympus")
    assert "is no time zone: give one like Asia/Seoul or UTC" in capsys.readouterr().err


def test_missing_tables_and_columns_are_noted_and_the_rest_is_read(read, tmp_path):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table users (id integer primary key, username text)")
        connection.execute("insert into users values (7, 'dana')")
    code, backup, text = read(path)
    assert (code, [row["username"] for row in backup.rows("users")]) == (0, ["dana"])
    assert all(f"{table}: not there, skipped" in text for table in COLUMNS if table != "users")


def test_duplicate_names_and_bad_times_are_lines_and_no_failures(read, tmp_path):
    people = [{"id": 1, "username": "dana", "password_hash": hashed()}, {"id": 2, "username": "Dana", "password_hash": hashed()}, {"id": 3, "username": "x"}]
    servers = [{"id": 1, "name": "web", "created_at": "soon"}, {"id": 2, "name": "web"}]
    code, backup, _ = read(older(tmp_path / "old.db", users=people, servers=servers))
    found = lines(backup)
    assert code == 0
    assert "users 2 (Dana): user 1 has the same name: not carried over" in found
    assert "users 3 (x): the name has fewer than 2 or more than 64 characters: not carried over" in found
    assert "servers 1 (web): created_at 'soon' is no time and is left out" in found
    assert "servers 2 (web): server 1 has the same name; both are listed" in found


def test_a_password_in_plain_text_is_in_no_file_and_no_line(read, tmp_path):
    code, backup, text = read(older(tmp_path / "old.db", users=[{"id": 1, "username": "dana", "password_hash": "open sesame"}]))
    assert code == 0
    assert "kept in no known form" in text
    assert "open sesame" not in text + "".join(path.read_text() for path in backup.folder.iterdir())


def test_the_backup_is_readable_for_its_owner_only(read, tmp_path):
    _, backup, _ = read(typical(tmp_path / "old.db"))
    assert {path.stat().st_mode & 0o077 for path in [backup.folder, *backup.folder.iterdir()]} == {0}


def test_a_folder_with_something_in_it_is_left_alone(read, tmp_path):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine").touch()
    code = script.main([str(typical(tmp_path / "old.db")), str(tmp_path / "backup")])
    assert (code, os.listdir(tmp_path / "backup")) == (1, ["mine"])


def broken(path: Path, kind: str) -> Path:
    """Make a file that cannot be read."""
    if kind == "none":
        return path
    if kind == "text":
        path.write_text("name,vmid\nweb,101\n")
        return path
    if kind == "empty":
        path.touch()
        return path
    if kind == "foreign":
        return foreign(path)
    many = [{"id": n, "name": f"server-{n:04}", "os_type": "x" * 40} for n in range(1, 500)]
    older(path, servers=many)
    raw = bytearray(path.read_bytes())
    raw[4096 * 8 : 4096 * 9] = b"\xa5" * 4096
    path.write_bytes(raw)
    return path


def foreign(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table songs (id integer primary key)")
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("none", "cannot be read: No such file or directory"),
        ("text", "is no SQLite database"),
        ("empty", "is no SQLite database"),
        ("foreign", "has none of the tables of the older application"),
        ("page", "is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_leaves_nothing(read, tmp_path, kind, sentence):
    code, backup, text = read(broken(tmp_path / "old.db", kind))
    assert (code, backup, sentence in text) == (1, None, True), text
    assert len(text.strip().splitlines()) == 1
    assert [name for name in os.listdir(tmp_path) if name != "old.db"] == []


def test_a_locked_database_is_refused_with_the_way_out(read, tmp_path):
    path = typical(tmp_path / "old.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        code, backup, text = read(path)
    assert (code, backup, "is locked by another program: stop the older application" in text) == (1, None, True)


def test_what_the_older_application_has_written_but_not_yet_moved_into_its_file_is_read_too(read, tmp_path):
    path = typical(tmp_path / "old.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("insert into projects (id, name) values (2, 'late')")
        code, backup, _ = read(path)
    assert (code, [row["name"] for row in backup.rows("projects")]) == (0, ["shop", "late"])


@pytest.mark.parametrize("how", ["cut", "shorter", "changed", "missing", "manifest", "foreign", "unknown table"])
def test_a_damaged_or_foreign_backup_is_refused(read, tmp_path, how):
    from scripts.older.report import Refused

    _, backup, _ = read(typical(tmp_path / "old.db"))
    file, manifest = backup.folder / "servers.jsonl", backup.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    match how:
        case "cut":
            file.write_bytes(file.read_bytes()[:-40])
        case "shorter":
            file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
        case "changed":
            file.write_text(file.read_text().replace('"web"', '"wob"'))
        case "missing":
            file.unlink()
        case "manifest":
            manifest.write_text(json.dumps({**content, "made_at": "2020-01-01T00:00:00+00:00"}))
        case "foreign":
            manifest.write_text('{"name": "package", "version": "1.0.0"}')
        case "unknown table":
            manifest.write_text(json.dumps({**content, "files": {**content["files"], "../../etc/passwd": {"rows": 1, "sha256": ""}}}))
    sentence = {"cut": "is damaged in line 2", "shorter": "has 1 rows", "changed": "is damaged in line 1", "missing": "cannot be read", "foreign": "another program"}.get(how, "is damaged")
    with pytest.raises(Refused, match=sentence):
        Backup.opened(backup.folder)
