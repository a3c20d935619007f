"""Faults of what a run stands on: the disk it works on, and the clock of the worker that began it."""

import contextlib
import errno
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import driver
from tests.chaos.fault import Fault, during, unavailable
from tests.chaos.world import World, descendants
from tests.stack import ROOT, Stack, alive, eventually

DISK_MIB, FULL_S, JUMP_S = 96, 8.0, 7200
FULL = "full"  # the file that takes the room
CLOCKS = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime", "/usr/lib64/faketime")
# libfaketime refuses what Python's sleep asks of a monotonic clock that it leaves alone.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select((), (), (), max(seconds, 0)) and None\n"
NO_CLOCK = "libfaketime is not there: install Debian's libfaketime, or name its file in FAKETIME_LIB"


# ---------------------------------------------------------------- disk
@contextlib.contextmanager
def small_disk(stack: Stack) -> Iterator[bool]:
    """Give runs a small disk of their own; False where that cannot be mounted."""
    place = stack.data_dir / "runs"
    place.mkdir(mode=0o700, exist_ok=True)
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", str(place)], capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


def _no_space(world: World, run_id: int) -> bool:
    place = world.stack.data_dir / "runs"
    if not os.path.ismount(place):
        return _no_file_grows(world, run_id)
    full = fill(place)
    world.after(FULL_S, lambda: full.unlink(missing_ok=True))
    return True


def fill(place: Path) -> Path:
    """Take all the room of a disk; returns the file that takes it."""
    full = place / FULL
    with full.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(1 << 16))
        except OSError as exc:
            assert exc.errno == errno.ENOSPC
    return full


def _no_file_grows(world: World, run_id: int) -> bool:
    """The runner and what it starts from now on may not write a byte more into any file."""
    found = world.below(run_id)
    pids = [found[name] for name in ("runner", "keeper", "terraform") if name in found]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))

    def back() -> None:
        for pid, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    world.after(FULL_S, back)
    return bool(pids)


# ---------------------------------------------------------------- clock
def library() -> str | None:
    """Return libfaketime's file, if there is one."""
    named = [os.environ["FAKETIME_LIB"]] if os.environ.get("FAKETIME_LIB") else []
    return next((path for path in [*named, *(f"{place}/libfaketimeMT.so.1" for place in CLOCKS)] if Path(path).exists()), None)


def _clock_jumps(seconds: int) -> Fault:
    """A second worker whose clock is wrong begins a run, and then its clock jumps back: neither means anything to anybody."""
    name = f"clock of a worker jumps by {seconds / 3600:+.0f} h"

    def strike(world: World) -> int | None:
        place = world.stack.data_dir / "tmp" / f"clock{seconds}"
        place.write_text("+0\n")
        worker = world.pid("worker")
        if worker is None or not alive(worker):
            return None
        process = _worker_beside(worker, place)
        try:
            return _claimed_there(world, worker, process, place, seconds)
        finally:
            process.terminate()
            process.wait(20)

    return Fault(name, strike)


def _worker_beside(worker: int, clock: Path) -> "subprocess.Popen[bytes]":
    """Start what the instance's own worker is, under another name and with another clock."""
    environ = dict(part.split("=", 1) for part in Path(f"/proc/{worker}/environ").read_text().split("\0") if "=" in part)
    argv = Path(f"/proc/{worker}/cmdline").read_text().rstrip("\0").split("\0")
    argv = [part.replace("terraform@", "clock@") for part in argv]
    found, mended = library(), clock.with_suffix(".d")
    assert found is not None
    mended.mkdir(exist_ok=True)
    (mended / "sitecustomize.py").write_text(SLEEP)
    # Only the wall clock jumps, as it does where somebody sets it; the file is read anew for each question.
    faked = {"PYTHONPATH": str(mended), "LD_PRELOAD": found, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with clock.with_suffix(".log").open("ab") as out:
        return subprocess.Popen(argv, cwd=ROOT, env=environ | faked, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def _claimed_there(world: World, worker: int, process: "subprocess.Popen[bytes]", clock: Path, seconds: int) -> int | None:
    log = clock.with_suffix(".log")
    eventually(lambda: process.poll() is not None or " ready." in log.read_text(errors="replace"), 30, "the second worker is there")
    clock.write_text(f"{seconds:+d}\n")
    paused = world.pause([worker])
    try:
        began = world.newest_run()
        driver.create(world, "dana", confirm=False)
        run_id, end = None, time.monotonic() + 20
        while run_id is None and time.monotonic() < end:
            family = {process.pid, *descendants(process.pid)}
            leases = world.sql(f"select run_id, pid from run_lease where run_id > {began} and pid is not null")
            run_id = next((run for run, pid in leases if pid in family), None)
            time.sleep(0.05)
    finally:
        paused()
    world.struck_at = time.time()
    # Once more, in the middle of the run.
    clock.write_text("+0\n")
    if run_id is not None:
        with contextlib.suppress(AssertionError):
            eventually(lambda: bool(world.sql(f"select 1 from run where id = {run_id} and finished_at is not null")), 60)
    return run_id


_CLOCKS = tuple(_clock_jumps(seconds) for seconds in (JUMP_S, -JUMP_S))
FAULTS: tuple[Fault, ...] = (
    during("no space in the work directory, planning", "planning", _no_space, FULL_S),
    during("no space in the work directory, cloning", "cloning", _no_space, FULL_S),
    *(_CLOCKS if library() else (unavailable(fault, NO_CLOCK) for fault in _CLOCKS)),
)
