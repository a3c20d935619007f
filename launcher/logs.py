"""The children's output: appended to DATA_DIR/log/NAME.log, put aside when it has grown too long."""

from pathlib import Path
from typing import BinaryIO

CAP_BYTES = 8 * 1024 * 1024


def log_path(data_dir: Path, name: str) -> Path:
    """The log of a part."""
    return data_dir / "log" / f"{name}.log"


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending; one that is too long becomes NAME.log.1 first."""
    try:
        if path.stat().st_size > CAP_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    except OSError:
        pass
    return path.open("ab")


def size(path: Path) -> int:
    """Bytes in the log now."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def contains(path: Path, offset: int, text: bytes) -> bool:
    """True when the text was logged after the offset."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return text in file.read()
    except OSError:
        return False
