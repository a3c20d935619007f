"""The file of a backup: what cannot be restored is one sentence, and leaves nothing behind."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app import database
from app.config import ROOT, load_settings
from embedded.postgres import Postgres
from launcher import archive as files
from launcher import database_copy
from launcher.database_copy import Table
from launcher.instance import Refusal, free_port

OLDER = "0012"
KEYS = {"secret_key": "s" * 48, "encryption_keys": "k" * 48}


def run(directory: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": os.defpath, "DATA_DIR": str(directory / "data"), "ENV_FILE": os.devnull, **more}
    return subprocess.run([sys.executable, str(ROOT / "run.py"), *arguments], cwd=directory, env=env, capture_output=True, text=True, timeout=90)


def archive(path: Path, revision: str = OLDER, tables: dict[str, Table] | None = None, **entries: bytes) -> Path:
    with files.written(path) as made:
        for name, body in entries.items():
            made.writestr(f"tables/{name}.copy", body)
        files.seal(made, KEYS, made_at="2026-01-01T00:00:00+00:00", revision=revision, tables=tables or {}, sequences={}, key_marks=files.marks(["k" * 48]))
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, body in content.items():
            if (kept := change(name, body)) is not None:
                new.writestr(name, kept)
    return path


def with_manifest(path: Path, **values: object) -> Path:
    return rewritten(path, lambda name, body: json.dumps({**json.loads(body), **values}).encode() if name == files.MANIFEST else body)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-50])
    return path


def no_zip(path: Path) -> Path:
    path.write_text("not a backup")
    return path


def gone(path: Path) -> Path:
    path.unlink()
    return path


BAD = {
    "there is no file": gone,
    "is damaged or no backup": no_zip,
    "damaged or no backup: File is not a zip file": cut,
    "is no backup of this application, or its manifest is damaged": lambda path: rewritten(path, lambda name, body: None if name == files.MANIFEST else body),
    "is no backup of this application": lambda path: with_manifest(path, format="something else"),
    "was made by a newer version": lambda path: with_manifest(path, version=2),
    "its keys are not those that were written": lambda path: rewritten(path, lambda name, body: b"{}" if name == files.KEYS else body),
    "which this version does not know": lambda path: with_manifest(path, revision="9999"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_a_file_that_is_no_good_backup_is_refused_before_anything_is_made(tmp_path: Path, sentence: str) -> None:
    file = BAD[sentence](archive(tmp_path / "file"))
    done = run(tmp_path, "restore", str(file))
    assert (done.returncode, sentence in done.stderr, len(done.stderr.strip().splitlines())) == (2, True, 1), done.stderr
    assert not (tmp_path / "data").exists()


ROW = b"1\tshop\tnever\tf\t2026-01-01 00:00:00+00\n"
COLUMNS = ["id", "name", "approval", "four_eyes", "created_at"]


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The empty tables of an older revision, as its migrations make them."""
    place = tmp_path_factory.mktemp("older")
    server = Postgres(place / "data", free_port(set()), "secret", place / "log")
    server.start()
    try:
        while not server.ready():
            assert server.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(0.05)
        database.upgrade(load_settings({"DATABASE_URL": server.url, "ENV_FILE": os.devnull}, place), OLDER)
        with database_copy.connected(server.url) as connection:
            return {name: Table(database_copy.columns(connection, name), 0, hashlib.sha256(b"").hexdigest()) for name in database_copy.tables(connection)}
    finally:
        server.stop()


def whole(path: Path, nothing: dict[str, Table], sha256: str) -> Path:
    """A backup with one project in it; of all other tables there is nothing."""
    return archive(path, OLDER, nothing | {"project": Table(COLUMNS, 1, sha256)}, **dict.fromkeys(nothing, b"") | {"project": ROW})


def test_a_backup_of_an_older_revision_is_restored_and_brought_to_todays(tmp_path: Path, nothing: dict[str, Table]) -> None:
    done = run(tmp_path, "restore", str(whole(tmp_path / "file", nothing, hashlib.sha256(ROW).hexdigest())))
    assert done.returncode == 0, done.stderr
    assert "its runs are paused until an administrator lets them go on" in done.stdout
    kept = json.loads((tmp_path / "data" / "instance.json").read_text())
    assert {name: kept[name] for name in KEYS} == KEYS


def spoilt(path: Path) -> Path:
    """Change a byte of the table in the file."""
    with zipfile.ZipFile(path) as made:
        offset = made.getinfo("tables/project.copy").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 30 + len("tables/project.copy") + 20 + 10] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("how", "sentence"), [("other rows", "the table project has 1 rows or other contents than the 1 that were written"), ("a spoilt byte", "is damaged")])
def test_a_damaged_table_is_refused_and_the_next_restore_begins_anew(tmp_path: Path, nothing: dict[str, Table], how: str, sentence: str) -> None:
    good = hashlib.sha256(ROW).hexdigest()
    file = whole(tmp_path / "file", nothing, "0" * 64) if how == "other rows" else spoilt(whole(tmp_path / "file", nothing, good))
    done = run(tmp_path, "restore", str(file))
    assert (done.returncode, sentence in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    if how == "other rows":
        assert "did not come to its end" in run(tmp_path).stderr, "it does not start"
    done = run(tmp_path, "restore", str(whole(tmp_path / "good", nothing, good)))
    assert done.returncode == 0, done.stderr


def test_keys_that_are_configured_must_be_the_backups(tmp_path: Path) -> None:
    done = run(tmp_path, "restore", str(archive(tmp_path / "file")), ENCRYPTION_KEYS="another" * 8)
    assert (done.returncode, "encryption keys are not configured here" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "data" / "instance.json").exists()


def test_an_instance_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instance.json").write_text('{"secret_key": "mine"}')
    done = run(tmp_path, "restore", str(archive(tmp_path / "file")))
    assert (done.returncode, "is in use" in done.stderr) == (2, True)
    assert json.loads((tmp_path / "data" / "instance.json").read_text()) == {"secret_key": "mine"}


def test_there_is_nothing_to_back_up_before_the_first_start(tmp_path: Path) -> None:
    done = run(tmp_path, "backup", str(tmp_path / "file"))
    assert (done.returncode, "nothing was started" in done.stderr, (tmp_path / "file").exists()) == (2, True, False), done.stderr


def test_an_archive_that_is_not_finished_never_gets_its_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.written(tmp_path / "file"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_never_written_over_one_that_came_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(Refusal), files.written(tmp_path / "file"):
        (tmp_path / "file").write_text("somebody's")
    assert (tmp_path / "file").read_text() == "somebody's"
