"""supervisor.conf, started for real: whatever dies comes back and works again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.conftest import Stores
from tests.containers.tools import ROOT
from tests.stack import alive, eventually, free_port

pytestmark = pytest.mark.slow
PROGRAMS = ("web", "worker", "beat", "flower")


@dataclass
class Supervised:
    """An installation: the repository's files beside a var of its own."""

    place: Path
    env: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def python(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(self.place / ".venv/bin/python"), *argv], cwd=self.place, env=self.env, capture_output=True, text=True, timeout=60, check=False)

    def ctl(self, *argv: str) -> str:
        return self.python("-m", "supervisor.supervisorctl", "-c", "supervisor.conf", *argv).stdout

    def pid(self, program: str) -> int:
        """The pid of a program that has been running for `startsecs`; 0 until then."""
        words = self.ctl("status", program).replace(",", "").split()
        return int(words[3]) if words[1:3] == ["RUNNING", "pid"] else 0

    def healthy(self, program: str) -> bool:
        return self.python("-m", "launcher.healthcheck", program).returncode == 0


@pytest.fixture(scope="module")
def supervised(stores: Stores) -> Iterator[Supervised]:
    place = Path(tempfile.mkdtemp(prefix="tpm-sv-"))
    (place / "var").mkdir()
    shutil.copyfile(ROOT / "supervisor.conf", place / "supervisor.conf")
    for name in (".venv", "run.py", "app", "launcher", "embedded"):
        (place / name).symlink_to(ROOT / name)
    files = {f"{name.upper()}_FILE": str(stores.secret(name)) for name in ("secret_key", "encryption_keys", "postgres_password", "redis_password", "flower_password")}
    env = {
        "PATH": os.defpath, "APP_ENV": "production", "SIMULATOR": "off", "DATA_DIR": str(place / "var"), "TERRAFORM_WORKERS": "2", "WEB_WORKERS": "1",
        "PORT": str(free_port()), "FLOWER_PORT": str(free_port()), **files, **stores.environment,
    }  # fmt: skip
    made = Supervised(place, env)
    migrated = made.python("run.py", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    made.process = subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-n", "-c", "supervisor.conf"], cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield made
    finally:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(90)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_killed_comes_back_and_works(supervised: Supervised, program: str) -> None:
    eventually(lambda: supervised.healthy(program), 90, f"{program} works")
    first = eventually(lambda: supervised.pid(program), 30, f"{program} runs")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not alive(first), 10, f"{program} is dead")
    # Beat's last sign of life is still fresh: only a newer one tells.
    sign = supervised.place / "var/beat/alive"
    died = sign.stat().st_mtime if sign.exists() else 0.0
    second = eventually(lambda: supervised.pid(program), 60, f"{program} runs again")
    assert second != first
    eventually(lambda: supervised.healthy(program) and (program != "beat" or sign.stat().st_mtime > died), 90, f"{program} works again")


def test_all_four_are_supervised_and_nothing_else(supervised: Supervised) -> None:
    assert {line.split()[0] for line in supervised.ctl("status").splitlines()} == set(PROGRAMS)


def test_no_secret_stands_in_the_configuration_or_in_an_argument(supervised: Supervised, stores: Stores) -> None:
    values = [path.read_text() for path in (stores.place / "secrets").iterdir()]
    texts = [(ROOT / "supervisor.conf").read_text()]
    for program in PROGRAMS:
        pid = eventually(lambda program=program: supervised.pid(program), 60, f"{program} runs")
        texts.append(Path(f"/proc/{pid}/cmdline").read_text())
    assert not [value for value in values if any(value in text for text in texts)]
