"""Load a backup of the older application's data into PostgreSQL: the configured one, or that of the running instance of DATA_DIR.

    .venv/bin/python scripts/restore_postgres_data.py BACKUP_DIR [--one-transaction]
    .venv/bin/python scripts/restore_postgres_data.py BACKUP_DIR --verify

It may be interrupted and called again, also in a system that is in use: what is there already is kept.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.config import ConfigError, load_settings
from launcher.database_copy import connected
from scripts.older.loading import load
from scripts.older.portable_backup import Backup, canonical
from scripts.older.report import Line, Refused, show
from scripts.older.verifying import verify


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Load a backup of the older application's data into PostgreSQL.")
    parser.add_argument("backup_dir", type=Path, metavar="BACKUP_DIR")
    parser.add_argument("--one-transaction", action="store_true", help="all tables or none (default: each table by itself)")
    parser.add_argument("--verify", action="store_true", help="load nothing; compare counts and checksums of backup and database")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Load or compare; the exit code: 1 when something is refused or differs."""
    args = arguments(given)
    try:
        settings = load_settings()
        if not settings.database_url:
            raise ConfigError(f"no database: set DATABASE_URL, or start the instance of {settings.data_dir} once")
        backup = Backup.opened(args.backup_dir)
        with connected(settings.database_url) as connection:
            return _compare(connection, backup) if args.verify else _load(connection, backup, each_table=not args.one_transaction)
    except Refused as exc:
        print(exc, file=sys.stderr)
        return 1
    except ConfigError as exc:
        print(f"Configuration: {exc}", file=sys.stderr)
        return 2
    except psycopg2.OperationalError as exc:
        print(f"the database does not answer; is the instance running? ({_first_line(exc)})", file=sys.stderr)
        return 1
    except psycopg2.Error as exc:
        print(f"the database refuses: {_first_line(exc)}; what was loaded stays, and calling it again loads the rest", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was loaded stays, and calling it again loads the rest", file=sys.stderr)
        return 130


def _first_line(exc: psycopg2.Error) -> str:
    return str(exc).strip().partition("\n")[0]


def _load(connection: object, backup: Backup, *, each_table: bool) -> int:
    said: list[Line] = []
    for part in load(connection, backup, said.append, each_table=each_table):
        print(f"{part.table}: {part.new} loaded, {part.kept} already there")
    place = ""
    with contextlib.suppress(OSError):  # a backup may lie where nothing can be written
        listed = backup.folder / "loaded.jsonl"
        listed.write_text("".join(f"{canonical(line.json)}\n" for line in said), encoding="utf-8")
        place = f"; all of them: {listed}"
    show(said, place)
    return 0


def _compare(connection: object, backup: Backup) -> int:
    differ = False
    for part in verify(connection, backup):
        print(f"{part.table}: {'equal' if part.equal else 'DIFFERS'}: backup {part.backup}; database {part.database}")
        differ |= not part.equal
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
