"""Child processes that do not outlive their parent, and the identity of a process.

Linux only where it matters: elsewhere a killed parent leaves its children, which the next start then stops.
"""

import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534
# A third of the processor time of a process that is waited for, when both want the same core.
BEHIND = 5
# All who are not root may together set a session's weight once in a tenth of a second.
GROUP_TRIES, GROUP_PAUSE_S = 5, 0.11

_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)


class StartError(RuntimeError):
    """An embedded server did not start; the text says why and what to do."""


def package_directory(name: str) -> Path:
    """Where a package lies, without importing it. Raises StartError."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise StartError(f"the package {name} is not installed: run `make setup`")
    return Path(spec.origin).parent


def die_with_parent(sig: signal.Signals) -> None:
    """Have the kernel send `sig` to this process when the thread that forked it ends. Call in the child, from a parent of one thread."""
    if _LINUX:
        _libc.prctl(PR_SET_PDEATHSIG, int(sig))


def in_child(sig: signal.Signals, *, as_nobody: bool = False, behind: bool = False) -> Callable[[], None]:
    """What a child does before exec: a clean signal mask, nobody's identity or a lower priority if asked, and the tie to its parent."""
    parent = os.getpid()

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if behind:
            _stand_behind()
        if as_nobody:
            _become_nobody_inside()
        die_with_parent(sig)
        # The parent may have died before the line above took effect.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _stand_behind() -> None:
    """Let others go first. Linux weighs sessions against each other and their processes only within one, so both are told."""
    os.nice(BEHIND)
    for _ in range(GROUP_TRIES):
        try:
            Path("/proc/self/autogroup").write_text(str(BEHIND), encoding="ascii")
        except BlockingIOError:
            time.sleep(GROUP_PAUSE_S)
            continue
        except OSError:
            pass  # no such thing here
        return


def _become_nobody_inside() -> None:
    """Enter a user namespace in which root is called nobody: files stay root's, yet the server sees no root."""
    if _libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} 0 1"), ("gid_map", f"{NOBODY} 0 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot: with the pid it names one process. None: gone, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if _LINUX else _alive_without_proc(pid)
    return None if fields[0] in "ZX" else int(fields[19])


def _alive_without_proc(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except OSError as exc:
        return 0 if exc.errno == errno.EPERM else None
    return 0


def is_same(pid: int, began: int) -> bool:
    """True while the process with this pid and start time lives."""
    return start_time(pid) == began


def wait_gone(pid: int, began: int, timeout_s: float) -> bool:
    """Wait until a process, not necessarily a child, is gone; False when time ran out."""
    end = time.monotonic() + timeout_s
    while is_same(pid, began):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def wait_reaped(pid: int, timeout_s: float) -> bool:
    """Wait until a process that has ended is no zombie any more either; False when time ran out."""
    end = time.monotonic() + timeout_s
    while Path(f"/proc/{pid}").exists() and start_time(pid) is None:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def tail(path: Path, size: int = 800) -> str:
    """The last part of a log file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
