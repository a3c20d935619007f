"""Linux process plumbing: a clean fork out of a Celery pool child, names for processes, waiting for one."""

import atexit
import contextlib
import ctypes
import gc
import os
import select
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_IN_MODIFY = 2


def start_time(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat: with the boot id it names a process for good. None: gone, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] in "ZX" else int(stat[19])


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def wait_any(pid: int, extra: Sequence[int] = (), timeout_s: float | None = None) -> bool:
    """True when the process (ours or not) is gone; False when `extra` became readable or time ran out."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        for f in (fd, *extra):
            poll.register(f, select.POLLIN)
        return fd in dict(poll.poll(None if timeout_s is None else timeout_s * 1000))
    finally:
        os.close(fd)


def wake(fd: int) -> None:
    """Make an eventfd readable."""
    with contextlib.suppress(OSError):
        os.write(fd, struct.pack("Q", 1))


def fork_detached(main: Callable[[], None], log: Path) -> int:
    """Fork a process that shares nothing that matters with this one, and return its pid; `main` runs in it."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _detach(log)
        main()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may escape into the parent's code
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)  # no atexit, no finalizers of billiard, coverage or pytest


def _detach(log: Path) -> None:
    os.setsid()
    gc.freeze()  # never collect the parent's cycles here: their __del__ talk to brokers
    atexit._clear()  # noqa: SLF001 - the parent's handlers are not ours
    null = os.open(os.devnull, os.O_RDWR)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for fd in [int(f) for f in os.listdir("/proc/self/fd") if int(f) > 2]:
        # Celery's pipes, database and broker sockets: parked, not closed, so that a stale object that closes its
        # number later cannot close one of ours.
        if fd not in (null, out):
            with contextlib.suppress(OSError):
                os.dup2(null, fd, inheritable=False)
    for sig in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(sig, signal.SIG_DFL)  # Celery ignores SIGINT here, and Terraform would inherit that
    for sig in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(sig, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    # Celery's proxies would log to its pipes.
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115


class Tail:
    """Whole lines of a growing file with their offset; `fd` becomes readable when there is more (inotify)."""

    def __init__(self, path: Path) -> None:
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        _libc.inotify_add_watch(self.fd, os.fsencode(path), _IN_MODIFY)
        self.file = open(path, "rb")  # noqa: SIM115 - closed in close()
        self.offset = 0

    def lines(self, at_end: bool = False, most: int = 1 << 16) -> tuple[int, bytes]:
        """Return (offset, bytes up to the last newline) not taken yet; call `taken` once they are stored."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65536)
        self.file.seek(self.offset)
        data = self.file.read(most)
        whole = data[: data.rfind(b"\n") + 1]
        # A line longer than a read, or the last one without its newline, goes as it is.
        return self.offset, whole or (data if at_end or len(data) == most else b"")

    def taken(self, data: bytes) -> None:
        """Advance behind these bytes."""
        self.offset += len(data)

    def close(self) -> None:
        """Close file and watch."""
        self.file.close()
        os.close(self.fd)
