"""Every command of our own images, executed as it stands in the Compose files."""

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.containers import stacks
from tests.containers.conftest import Stores
from tests.containers.engine import Container, isolates
from tests.containers.tools import ROOT
from tests.stack import eventually, free_port

pytestmark = [pytest.mark.timeout(660), pytest.mark.slow]


@contextlib.contextmanager
def started(file: str, stores: Stores) -> Iterator[dict[str, Container]]:
    """All services of ours, after the migrations that they wait for."""
    ours = [name for name, service in stacks.services(file).items() if service["image"].startswith(stacks.OURS)]
    first = Container(file, "migrate", stores)
    first.start()
    assert first.process is not None
    assert first.process.wait(120) == 0, first.log.read_text()[-3000:]
    assert (first.data / "admin-password").exists() == (file == stacks.FILES[0]), "made once, by whoever comes first"
    made = {name: Container(file, name, stores) for name in ours if name != "migrate"}
    try:
        for container in made.values():
            container.start()
        yield made
    finally:
        for container in made.values():
            container.kill()


@contextlib.contextmanager
def beside(stores: Stores) -> Iterator[str]:
    """`python run.py web` on this machine with redis/host.env, as the README says; its port."""
    (stores.place / "docker").mkdir(exist_ok=True)
    (stores.place / "docker/secrets").symlink_to(stores.place / "secrets")
    (stores.place / ".env").write_text((ROOT / "redis/host.env").read_text())
    port = str(free_port())
    env = {"PATH": os.defpath, **stores.environment, "ENV_FILE": str(stores.place / ".env"), "DATA_DIR": str(stores.place / "host"), "PORT": port}
    log = stores.place / "host.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "run.py", "web"], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


def working(port: str) -> set[str]:
    """What /readyz says is there; nothing until it answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return {check["name"] for check in json.load(answer)["checks"] if check["ok"]}
    except OSError:
        return set()


def exported(port: str) -> set[str]:
    """The names that /metrics explains, also those that have no value yet; a counter's with its ending."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = re.findall(r"^# TYPE (\w+) (\w+)", answer.read().decode(), re.MULTILINE)
    return {name for name, _ in found} | {f"{name}_total" for name, kind in found if kind == "counter"}


@pytest.mark.parametrize("file", stacks.FILES)
def test_every_part_becomes_healthy_and_ends_when_it_is_told_to(stores: Stores, file: str) -> None:
    with started(file, stores) as parts:
        for name, container in parts.items():
            eventually(container.healthy, 90, f"{name} is healthy")
        with contextlib.ExitStack() as stack:
            port = parts["web"].environment["PORT"] if "web" in parts else stack.enter_context(beside(stores))
            eventually(lambda: {"database", "keys", "redis", "broker", "workers"} <= working(port), 60, "requests are taken and workers are there")
            asked = set(re.findall(r"\btpm_[a-z_]+?(?=_bucket\b|\b)", (ROOT / "monitoring/alerts.yml").read_text()))
            assert asked <= exported(port), "alerts ask for what the web server tells"
        clock = parts["beat" if "beat" in parts else "celery-worker"]
        eventually((clock.data / "beat" / "alive").exists, 30, "the clock rings, also inside a worker")
        ended = {name: container.stop() for name, container in parts.items()}
        assert set(ended.values()) <= {0}, ended


@pytest.mark.parametrize("name", ["web", "worker", "beat", "flower"])
def test_a_part_that_is_not_there_is_not_healthy(stores: Stores, name: str) -> None:
    nobody = Container("docker/compose.yml", name, stores, data="nobody").asked()
    assert nobody.returncode == 1
    assert len(nobody.stderr.strip().splitlines()) == 1, nobody.stderr


@pytest.mark.skipif(not isolates(), reason="namespaces need root and unshare")
def test_what_runs_here_could_not_write_anywhere_else(stores: Stores) -> None:
    probe = Container("docker/compose.yml", "web", stores)
    probe.service = probe.service | {"command": ["python", "-c", "import os; open(os.environ['DATA_DIR'] + '/x', 'w'); open('x', 'w')"]}
    probe.start()
    assert probe.process is not None and probe.process.wait(30) == 1
    assert (probe.data / "x").exists() and "Read-only file system" in probe.log.read_text()
