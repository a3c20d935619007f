"""A container engine's place: a service's command as it stands, with its environment, as PID 1 of a read-only file system.

Where namespaces cannot be made the same command is a plain process.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.containers import stacks
from tests.containers.conftest import Stores
from tests.containers.tools import ROOT
from tests.stack import children, free_port

# The volume stays writable, everything else is not, and root has no more rights than anybody.
INSIDE = """
set -e
hostname "$CONTAINER"
mount --make-rprivate /
mount --bind "$DATA_DIR" "$DATA_DIR"
for place in $(cut -d' ' -f5 /proc/self/mountinfo); do
  case "$place" in "$DATA_DIR"|/proc*|/dev*|/sys*) ;; *) mount -o remount,bind,ro "$place" ;; esac
done
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""
ISOLATED = ("unshare", "--pid", "--fork", "--uts", "--mount", "--mount-proc", "--kill-child", "sh", "-c", INSIDE, "sh")


@cache
def isolates() -> bool:
    """True when this machine lets us make the namespaces."""
    if not all(shutil.which(name) for name in ("unshare", "setpriv", "mount")):
        return False
    probe = ROOT / ".tools"
    done = subprocess.run([*ISOLATED, "true"], env={**os.environ, "DATA_DIR": str(probe.resolve()), "CONTAINER": "probe"}, capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def image_environment(dockerfile: str) -> dict[str, str]:
    """Return what the image sets: the ENV block of its last stage."""
    last = (ROOT / dockerfile).read_text().rpartition("\nFROM ")[2]
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", last, re.MULTILINE)
    assert block
    return dict(word.split("=", 1) for word in block[1].replace("\\\n", " ").split())


@dataclass
class Container:
    """One service of a Compose file."""

    file: str
    name: str
    stores: Stores
    data: Any = ""
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.service: dict[str, Any] = stacks.services(self.file)[self.name]
        self.data = self.stores.place / (self.data or f"{Path(self.file).parent}-{self.name}")
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.log = self.data.with_suffix(".log")
        dockerfile = self.service["build"]["dockerfile"]
        given = {k: str(v) for k, v in self.service["environment"].items()}
        files = {k: str(self.stores.secret(Path(v).name)) for k, v in given.items() if v.startswith("/run/secrets/")}
        image = image_environment(dockerfile) | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath])}
        place = {"DATA_DIR": str(self.data), "HOME": "/nonexistent", "CONTAINER": self.name, "PORT": str(free_port()), "FLOWER_PORT": str(free_port())}
        self.environment = image | given | files | self.stores.environment | place

    def start(self) -> None:
        """Execute the command."""
        argv = [*(ISOLATED if isolates() else ()), *self.service["command"]]
        with self.log.open("wb") as out:
            self.process = self._run(argv, out)

    def _run(self, argv: list[str], out: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(argv, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    @property
    def first(self) -> int:
        """The pid of PID 1, seen from outside."""
        assert self.process is not None and self.process.poll() is None, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"
        return next(iter(children(self.process.pid)), 0) if isolates() else self.process.pid

    def asked(self) -> "subprocess.CompletedProcess[str]":
        """Run the health check as it stands, inside when it was started."""
        inside = ("nsenter", "--target", str(self.first), "--uts", "--mount", "--pid", f"--wd={ROOT}") if self.process is not None and isolates() else ()
        kind, *test = self.service["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run([*inside, *test], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=30, check=False)

    def healthy(self) -> bool:
        """True when the health check says so."""
        return self.asked().returncode == 0

    def stop(self) -> int:
        """Tell PID 1 to stop; its exit code. Fails when it takes longer than it is granted."""
        assert self.process is not None
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(stacks.seconds(self.service["stop_grace_period"]))

    def kill(self) -> None:
        """End it whatever it does."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
