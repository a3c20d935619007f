"""`python run.py backup FILE` and `restore FILE`: the whole of an installation in one file, and a new one out of it.

A backup is taken while everything runs: all tables of one moment, the encrypted Terraform states among them, and the
keys that open them unless those are configured elsewhere. Servers themselves are Proxmox's to back up.
"""

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import psycopg2
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from app import database
from app.config import INSTANCE_FILE, Settings, check_complete, load_settings
from launcher import archive as files
from launcher import copied_installation, database_copy, database_server
from launcher.archive import Manifest
from launcher.database_copy import Damaged
from launcher.instance import (
    UNFINISHED_FILE,
    Instance,
    Refusal,
    locked,
    make_directories,
    refuse_unfinished,
    write_json,
)

KEPT_KEYS = ("secret_key", "encryption_keys")


def backup(target: Path) -> int:
    """Write a backup of the configured instance; the exit code. Raises ConfigError, Refusal."""
    os.umask(0o077)
    settings = load_settings()
    refuse_unfinished(settings.data_dir)
    kept = Instance(settings.data_dir).values
    keys = {name: str(kept[name]) for name in KEPT_KEYS if settings.source(name) == "instance" and kept.get(name)}
    try:
        with database_server.database(settings) as url, database_copy.connected(url) as connection:
            database_copy.snapshot(connection)
            revision = database_copy.revision(connection)
            if revision is None:
                raise Refusal("the database is empty: there is nothing to back up")
            with files.written(target) as archive:
                tables = database_copy.read(connection, archive)
                manifest = files.seal(
                    archive, keys, made_at=datetime.now(UTC).isoformat(timespec="seconds"), revision=revision, tables=tables,
                    sequences=database_copy.sequences(connection), key_marks=files.marks(settings.encryption_key_texts),
                )  # fmt: skip
    except psycopg2.OperationalError as exc:
        raise Refusal(f"the database does not answer ({str(exc).strip().splitlines()[0]})") from None
    print(f"{target}: {len(manifest.tables)} tables, {manifest.rows} rows, {target.stat().st_size / 1e6:.1f} MB")
    missing = [name.upper() for name in KEPT_KEYS if name not in keys]
    if missing:
        print(f"Not in it, since the configuration has them: {' and '.join(missing)}. Keep them safe as well", file=sys.stderr)
    else:
        print("It has the keys that open every stored secret in it: keep it where only you can read it")
    return 0


def restore(source: Path, *, take_over: bool) -> int:
    """Make a new installation out of a backup; the exit code. Raises ConfigError, Refusal."""
    os.umask(0o077)
    with files.opened(source) as (archive, manifest, keys):
        settings = load_settings()
        _refuse_unknown(settings, manifest)
        make_directories(settings.data_dir)
        with locked(settings.data_dir):
            settings = _prepared(settings, manifest, keys)
            try:
                identity = _load(settings, archive, manifest, take_over=take_over)
            except Damaged as exc:
                raise Refusal(f"{source} is damaged, nothing was restored: {exc}") from None
            except psycopg2.Error as exc:
                raise Refusal(f"nothing was restored: {str(exc).strip().splitlines()[0]}") from None
            (settings.data_dir / UNFINISHED_FILE).unlink()
    print(f"{len(manifest.tables)} tables and {manifest.rows} rows of {manifest.made_at} are restored")
    if take_over:
        print("This installation takes the original's place: never start the original again")
    else:
        print(f"It is an installation of its own ({identity}); its runs are paused until an administrator lets them go on")
    return 0


def _refuse_unknown(settings: Settings, manifest: Manifest) -> None:
    try:
        ScriptDirectory.from_config(database.alembic_config(settings)).get_revision(manifest.revision)
    except CommandError:
        raise Refusal(f"the backup has revision {manifest.revision} of the database, which this version does not know: use a newer one") from None


def _prepared(settings: Settings, manifest: Manifest, keys: dict[str, str]) -> Settings:
    """Refuse a system that is not empty; give the new one the backup's keys. Returns the settings it will have."""
    data, unfinished = settings.data_dir, settings.data_dir / UNFINISHED_FILE
    if not unfinished.exists():
        there = [path for path in (data / INSTANCE_FILE, data / "postgres" / "data") if path.exists()]
        if there:
            raise Refusal(f"{data} is in use ({there[0].name} is there): a backup is restored into an empty DATA_DIR")
        unfinished.touch()
    shutil.rmtree(data / "postgres", ignore_errors=True)
    write_json(data / INSTANCE_FILE, {name: keys[name] for name in KEPT_KEYS if keys.get(name)} or {"restored": True})
    try:
        instance = Instance(data)
        instance.complete(load_settings())
        settings = load_settings()
        check_complete(settings)
        if missing := set(manifest.key_marks) - set(files.marks(settings.encryption_key_texts)):
            raise Refusal(f"{len(missing)} of the backup's encryption keys are not configured here: set ENCRYPTION_KEYS as it was, or leave it out")
    except BaseException:
        # Nothing of the backup is there yet: the directory is as empty as before.
        (data / INSTANCE_FILE).unlink()
        unfinished.unlink()
        raise
    return settings


def _load(settings: Settings, archive: ZipFile, manifest: Manifest, *, take_over: bool) -> str:
    if settings.configured_database:
        return _fill(settings, settings.database_url, archive, manifest, take_over=take_over)
    with database_server.embedded(settings) as url:
        return _fill(settings, url, archive, manifest, take_over=take_over)


def _fill(settings: Settings, url: str, archive: ZipFile, manifest: Manifest, *, take_over: bool) -> str:
    """Bring an empty database to the backup's revision, fill it in one transaction, then bring it to today's. Returns the new id."""
    with database_copy.connected(url) as connection:
        there = database_copy.revision(connection)
        if not database_copy.empty(connection) or there not in (None, manifest.revision):
            raise Refusal("the database is not empty: a backup is restored into an empty one")
        connection.rollback()
        if there is None:
            database.upgrade(settings, manifest.revision)
        database_copy.write(connection, archive, manifest.tables, manifest.sequences)
        identity = "" if take_over else copied_installation.become_another(connection)
        connection.commit()
    database.upgrade(settings)
    return identity
