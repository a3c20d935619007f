"""A folder with what the older application knew: one file of JSON lines for each table, each line with its checksum.

    with written(folder) as backup:             # appears under its name when it is complete
        backup.add("users", rows)
    backup = Backup.opened(folder)              # every checksum is looked at first; raises Refused
    for row in backup.rows("users"): ...
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scripts.older.old_schema import COLUMNS, Row
from scripts.older.report import Line, Refused

FORMAT, VERSION = "terraform-proxmox-manager data of the older application", 1
MANIFEST, REPORT = "manifest.json", "report"


def canonical(row: Any) -> str:
    """Return the one way to write a row, so that equal rows have equal checksums."""
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def check_of(line: str) -> str:
    """Return the checksum of a line."""
    return hashlib.sha256(line.encode()).hexdigest()[:16]


class Writing:
    """A backup that is being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, rows: Iterable[Row]) -> int:
        """Write a table; returns how many rows it had."""
        count, digest = 0, hashlib.sha256()
        with open(os.open(self.folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for row in rows:
                body = canonical(row)
                line = f'{{"check":"{check_of(body)}","row":{body}}}\n'.encode()
                digest.update(line)
                file.write(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        self.files[name] = {"rows": count, "sha256": digest.hexdigest()}
        return count

    def close(self, **facts: Any) -> None:
        """Write the manifest, which makes it a backup."""
        body = {"format": FORMAT, "version": VERSION, **facts, "files": self.files}
        body["check"] = check_of(canonical(body))
        with open(os.open(self.folder / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(body, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def written(folder: Path) -> Iterator[Writing]:
    """Write a backup beside its place and move it there whole. Raises Refused."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} exists and is not empty: name a folder that does not exist")
    part = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(mode=0o700, parents=True)
        yield Writing(part)
        part.rename(folder.absolute())
    except OSError as exc:
        raise Refused(f"{folder} cannot be written: {exc.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


class Backup:
    """A backup that was read through once: what it says of itself is true."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.source = str(manifest["source"])
        self.made_at = str(manifest["made_at"])
        self.tables: dict[str, int] = {name: int(facts["rows"]) for name, facts in manifest["files"].items() if name != REPORT}

    @classmethod
    def opened(cls, folder: Path) -> "Backup":
        """Open a folder and check all of it. Raises Refused."""
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise Refused(f"{folder} is no backup: it has no {MANIFEST}") from None
        except (OSError, ValueError) as exc:
            raise Refused(f"{folder / MANIFEST} is damaged: {exc}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise Refused(f"{folder} is another program's folder, or a backup of another kind")
        if manifest.get("version") != VERSION:
            raise Refused(f"{folder} was written by a newer version of this application: load it with that one")
        if manifest.pop("check", "") != check_of(canonical(manifest)):
            raise Refused(f"{folder / MANIFEST} is damaged: it is not as it was written")
        if unknown := sorted(set(manifest["files"]) - {*COLUMNS, REPORT}):
            raise Refused(f"{folder} has tables that are not known: {', '.join(unknown)}")
        backup = cls(folder, manifest)
        for name, facts in manifest["files"].items():
            backup._check(name, facts)
        return backup

    def _check(self, name: str, facts: dict[str, Any]) -> None:
        count, digest = 0, hashlib.sha256()
        for number, line in enumerate(self._lines(name), 1):
            digest.update(line)
            count += 1
            try:
                content = json.loads(line)
                good = content["check"] == check_of(canonical(content["row"]))
            except (ValueError, KeyError, TypeError):
                good = False
            if not good:
                raise Refused(f"{self.folder / name}.jsonl is damaged in line {number}")
        if (count, digest.hexdigest()) != (facts["rows"], facts["sha256"]):
            raise Refused(f"{self.folder / name}.jsonl is damaged: it has {count} rows or other ones than the {facts['rows']} that were written")

    def _lines(self, name: str) -> Iterator[bytes]:
        try:
            with (self.folder / f"{name}.jsonl").open("rb") as file:
                yield from file
        except OSError as exc:
            raise Refused(f"{self.folder / name}.jsonl cannot be read: {exc.strerror}") from None

    def rows(self, name: str) -> Iterator[Row]:
        """Yield the rows of a table; none of one that is missing."""
        if name in self.tables or name == REPORT:
            for line in self._lines(name):
                yield json.loads(line)["row"]

    def report(self) -> list[Line]:
        """Return what was said when it was written."""
        return [Line(**row) for row in self.rows(REPORT)]
