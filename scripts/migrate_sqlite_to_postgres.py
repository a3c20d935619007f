"""Read the older application's SQLite database into a portable backup, which scripts/restore_postgres_data.py loads.

    .venv/bin/python scripts/migrate_sqlite_to_postgres.py SQLITE_FILE BACKUP_DIR [--timezone Asia/Seoul] [--dry-run]

The SQLite file is opened for reading only. With --dry-run everything is read and reported, and nothing stays.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.config import ConfigError, Settings, load_settings
from scripts.older import old_schema, portable_backup
from scripts.older.carrying_over import everything_lost
from scripts.older.old_schema import OldDatabase, Row
from scripts.older.portable_backup import REPORT, Backup, Writing
from scripts.older.report import Line, Progress, Refused, show
from scripts.older.values import normal

TIMEZONE = "Asia/Seoul"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Read the older application's SQLite database into a portable backup.")
    parser.add_argument("sqlite_file", type=Path, metavar="SQLITE_FILE")
    parser.add_argument("backup_dir", type=Path, metavar="BACKUP_DIR", help="a folder that does not exist yet, or is empty")
    parser.add_argument("--timezone", type=_zone, default=ZoneInfo(TIMEZONE), help=f"of times without one (default: {TIMEZONE})")
    parser.add_argument("--dry-run", action="store_true", help="read and report, write nothing")
    return parser.parse_args(given)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{name!r} is no time zone: give one like {TIMEZONE} or UTC") from None


def main(given: Sequence[str] | None = None) -> int:
    """Read and write; the exit code."""
    args = arguments(given)
    try:
        settings = load_settings()
        if args.dry_run:
            with tempfile.TemporaryDirectory(prefix="tpm-dry-run-") as place:
                read(args.sqlite_file, Path(place) / "backup", args.timezone, shown="; a run without --dry-run writes them all")
            print("Nothing was written")
        else:
            read(args.sqlite_file, args.backup_dir, args.timezone, shown=f"; all of them: {args.backup_dir / REPORT}.jsonl")
            print(f"Written to {args.backup_dir}. Load it into {where(settings)}:\n  .venv/bin/python scripts/restore_postgres_data.py {args.backup_dir}")
    except Refused as exc:
        print(exc, file=sys.stderr)
        return 1
    except ConfigError as exc:
        print(f"Configuration: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def where(settings: Settings) -> str:
    """Say which database the configuration means, without its password."""
    parts = urlsplit(settings.database_url)
    return f"the database {parts.path.lstrip('/')} at {parts.hostname}:{parts.port or 5432}" if parts.hostname else f"the instance of {settings.data_dir}, once it was started"


def read(source: Path, target: Path, zone: ZoneInfo, shown: str) -> None:
    """Write the backup with its report. Raises Refused."""
    said: list[Line] = []
    with old_schema.opened(source) as database, portable_backup.written(target) as backup:
        for table in database.tables:
            progress = Progress(table, database.count(table))
            count = backup.add(table, _rows(database, table, zone, said, progress))
            progress.end()
            print(f"{table}: {count} rows")
        for table in database.missing:
            print(f"{table}: not there, skipped")
        facts = {"source": database.source(), "made_at": datetime.now(UTC).isoformat(timespec="seconds"), "timezone": zone.key, "missing": database.missing}
        said += _lost(backup, facts)
        backup.add(REPORT, (line.json for line in said))
        backup.close(**facts)
    show(said, shown)


def _lost(backup: Writing, facts: Mapping[str, object]) -> list[Line]:
    return everything_lost(Backup(backup.folder, {**facts, "files": backup.files}))


def _rows(database: OldDatabase, table: str, zone: ZoneInfo, said: list[Line], progress: Progress) -> Iterator[Row]:
    for row in database.rows(table):
        name = str(row.get("username") or row.get("name") or row.get("title") or "")[:60]
        number = row["id"] if isinstance(row["id"], int) else None
        made = normal(table, row, zone, lambda what, number=number, name=name: said.append(Line(table, number, name, what)))  # type: ignore[misc]
        progress.step()
        if made["id"] is None:
            said.append(Line(table, None, name, "it has no id: not carried over"))
            continue
        yield made


if __name__ == "__main__":
    sys.exit(main())
