"""The file of a backup: a ZIP with a manifest, the keys and the tables; written whole or not at all, read with suspicion."""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.database_copy import Table
from launcher.instance import Refusal

FORMAT, VERSION = "terraform-proxmox-manager backup", 1
MANIFEST, KEYS = "manifest.json", "keys.json"


@dataclass(frozen=True)
class Manifest:
    """What is in a backup. `key_marks` tell which encryption keys it needs, without telling the keys."""

    made_at: str
    revision: str
    tables: dict[str, Table]
    sequences: dict[str, int]
    key_marks: list[str]
    keys_sha256: str

    @property
    def rows(self) -> int:
        """How many rows it has in all."""
        return sum(table.rows for table in self.tables.values())


def marks(keys: Sequence[str]) -> list[str]:
    """Return what tells keys apart and does not lead back to them: they are long random texts."""
    return [hashlib.sha256(f"{FORMAT}:{key}".encode()).hexdigest()[:16] for key in keys]


@contextlib.contextmanager
def written(target: Path) -> Iterator[zipfile.ZipFile]:
    """Make an archive that only its owner can read; it appears under its name when it is complete. Raises Refusal."""
    if target.exists():
        raise Refusal(f"{target} exists: name a file that does not")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        _named(part, target)
    except OSError as exc:
        raise Refusal(f"{target} cannot be written: {exc.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _named(part: Path, target: Path) -> None:
    """Give the file its name, never over one that appeared meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        part.rename(target)


def seal(archive: zipfile.ZipFile, keys: dict[str, str], **facts: Any) -> Manifest:
    """Add keys and manifest, the last two entries."""
    body = json.dumps(keys).encode()
    manifest = Manifest(**facts, keys_sha256=hashlib.sha256(body).hexdigest())
    archive.writestr(KEYS, body)
    archive.writestr(MANIFEST, json.dumps({"format": FORMAT, "version": VERSION, **asdict(manifest)}, indent=1))
    return manifest


@contextlib.contextmanager
def opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest, dict[str, str]]]:
    """Open a backup and yield it with its manifest and its keys. Raises Refusal."""
    try:
        with zipfile.ZipFile(source) as archive:
            content = json.loads(archive.read(MANIFEST))
            if content.pop("format", None) != FORMAT:
                raise Refusal(f"{source} is no backup of this application")
            if content.pop("version", None) != VERSION:
                raise Refusal(f"{source} was made by a newer version of this application: restore it with that one")
            manifest = Manifest(**{**content, "tables": {name: Table(**table) for name, table in content["tables"].items()}})
            body = archive.read(KEYS)
            if hashlib.sha256(body).hexdigest() != manifest.keys_sha256:
                raise Refusal(f"{source} is damaged: its keys are not those that were written")
            if bad := archive.testzip():
                raise Refusal(f"{source} is damaged: {bad} in it is not as it was written")
            yield archive, manifest, json.loads(body)
    except FileNotFoundError:
        raise Refusal(f"there is no file {source}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
        raise Refusal(f"{source} is damaged or no backup: {exc}") from None
    except (KeyError, TypeError, ValueError) as exc:
        raise Refusal(f"{source} is no backup of this application, or its manifest is damaged ({type(exc).__name__})") from None
    except OSError as exc:
        raise Refusal(f"{source} cannot be read: {exc.strerror}") from None
