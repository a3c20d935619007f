"""Terraform's parent: the keeper, a single-threaded process between runner and Terraform, and the only one that signals it.

PDEATHSIG from the runner itself will not do: the kernel sends it when the parent *thread* dies, and again for each
further thread the child is handed to while a process of several threads dies. Two SIGINTs make Terraform abandon its
servers. The same happens when a cancel (first SIGINT) is followed by the runner's death (second).
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.errors import AppError

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class KeeperGone(AppError):
    """Somebody killed the keeper; Terraform got its one SIGINT by PDEATHSIG and is finishing."""

    code = "keeper_gone"


class Keeper:
    """Starts Terraform, tells it to stop once, writes PHASE.rc so that the exit code outlives the runner.

    Make it before the runner's first thread. `lock_fd` is inherited by Terraform and provider: while anyone of them
    lives, the lock on it is held.
    """

    def __init__(self, lock_fd: int) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.sock.close()
                _keep(theirs, lock_fd)
            except BaseException:  # noqa: BLE001 - nothing may escape into the runner's code
                traceback.print_exc(file=sys.stderr)
            finally:
                os._exit(0)
        theirs.close()

    def start(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], phase: str) -> None:
        """Start Terraform with its output in PHASE.out and PHASE.err of `cwd`. Raises KeeperGone."""
        message = json.dumps([list(argv), str(cwd), dict(env), phase]).encode()
        try:
            self.sock.send(message)
        except OSError as exc:
            raise KeeperGone("starting Terraform") from exc

    def stop(self, kill: bool = False) -> None:
        """Send one SIGINT, however often this is called; SIGKILL to the whole group if asked."""
        with contextlib.suppress(OSError):
            self.sock.send(b"kill" if kill else b"int")

    def result(self) -> int | None:
        """Return the exit code once there is one (`sock` is readable then). Raises KeeperGone."""
        try:
            answer = self.sock.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionError:
            answer = b""
        if not answer:
            raise KeeperGone("waiting for Terraform")
        return int(answer)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _launch(message: bytes, lock_fd: int) -> tuple["subprocess.Popen[bytes]", Path]:
    argv, cwd, env, phase = json.loads(message)
    folder = Path(cwd)
    with open(folder / f"{phase}.out", "ab") as out, open(folder / f"{phase}.err", "ab") as err:
        child = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
            argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            pass_fds=(lock_fd,), preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
        )  # fmt: skip
    return child, folder / f"{phase}.rc"


def _keep(sock: socket.socket, lock_fd: int) -> None:
    child: subprocess.Popen[bytes] | None = None
    pidfd, told, orphan, rc_file = -1, False, False, Path()
    while child or not orphan:
        poll = select.poll()
        if not orphan:
            poll.register(sock.fileno(), select.POLLIN)
        if child is not None:
            poll.register(pidfd, select.POLLIN)
        ready = dict(poll.poll())
        if not orphan and sock.fileno() in ready:
            try:
                message = sock.recv(1 << 20)
            except OSError:
                message = b""
            if message[:1] == b"[":
                told = False
                try:
                    child, rc_file = _launch(message, lock_fd)
                except OSError as exc:
                    print("starting Terraform:", exc, file=sys.stderr)
                    sock.send(b"127")
                    continue
                pidfd = os.pidfd_open(child.pid)
                continue
            orphan = not message  # end of file: the runner is dead
            if child and (message == b"kill" or not told):
                told = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL if message == b"kill" else signal.SIGINT)
        if child and pidfd in ready:
            code = child.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # a provider left behind by a killed Terraform
            with contextlib.suppress(OSError):
                rc_file.write_text(str(code))
            os.close(pidfd)
            child = None
            with contextlib.suppress(OSError):
                sock.send(str(code).encode())
