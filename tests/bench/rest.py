"""What an instance costs when nothing happens, and how long `make run` takes until it says that it runs."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import Report
from tests.stack import ROOT, Stack, alive, children, free_port

REST_S = 10.0
POLL_S = 0.01
START_LIMIT_S, COLD_LIMIT_S = 120.0, 1800.0
# What package clients are told by their environment; nothing else of it reaches a cold start.
CLIENT_SETTINGS = ("PIP_", "UV_", "NPM_CONFIG_", "npm_config_", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOFLAGS", "GOPRIVATE")
CLIENT_NAMES = frozenset({
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE",
})  # fmt: skip


@dataclass
class Made:
    """An instance started by `make run` in a checkout; `seconds` until its screen."""

    process: "subprocess.Popen[bytes]"
    output: Path
    seconds: float = 0.0

    def wait(self, limit_s: float) -> None:
        """Wait for the screen at the end of the start."""
        began = time.monotonic()
        while b"is running" not in self.output.read_bytes():
            if self.process.poll() is not None or time.monotonic() - began > limit_s:
                raise RuntimeError(f"make run did not come up:\n{self.output.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(POLL_S)


@contextlib.contextmanager
def make_run(checkout: Path, env: dict[str, str], output: Path, limit_s: float) -> Iterator[Made]:
    """Call `make run` as a person in a terminal does, and press Ctrl-C at the end."""
    # The interpreter that made the virtual environment: another one would make it anew.
    python = getattr(sys, "_base_executable", sys.executable)
    with output.open("wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(
            ["make", "run", f"PYTHON={python}"], cwd=checkout, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    made = Made(process, output)
    try:
        made.wait(limit_s)
        made.seconds = time.monotonic() - began
        yield made
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)


def rest(place: Path, report: Report, rounds: int) -> None:
    """Warm starts of one DATA_DIR; in each a server is made, then the instance rests, then its memory is read."""
    report.heading("rest", f"warm start of make run, and PSS after one server and {REST_S:.0f} s of rest")
    stack = Stack(place / "var", {"TERRAFORM_WORKERS": "10"})
    starts: list[float] = []
    memory: list[float] = []
    for number in range(rounds + 1):  # the first one makes DATA_DIR
        with make_run(ROOT, stack.env, place / "make.out", START_LIMIT_S) as made:
            parts = _used(stack, number, made)
        if number:
            starts.append(made.seconds)
            memory.append(sum(parts.values()))
            report.round("rest", number, f"start {made.seconds:.2f} s", f"{memory[-1]:.0f} MB ({_said(parts)})")
        else:
            print(f"  rest: first start of a new DATA_DIR {made.seconds:.2f} s", flush=True)
    report.value("rest: memory of the whole stack without the simulator, PSS", memory, "MB", 400, 600)
    report.value("rest: warm start of make run", starts, "s", 4, 8)


def _used(stack: Stack, number: int, made: Made) -> dict[str, float]:
    api = stack.api()
    api.made(f"rest-{number}")
    time.sleep(REST_S)
    pids = {name: pid for name, pid in stack.info["pids"].items() if pid}
    return memory_mb(made.process.pid, pids)


def cold(place: Path, report: Report) -> None:
    """From a fresh clone, an empty HOME and no caches to a running instance, once."""
    report.heading("cold", "make run in a fresh clone with an empty HOME")
    checkout, home = place / "clone", place / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(checkout)], check=True)
    kept = {k: v for k, v in os.environ.items() if k in CLIENT_NAMES or k.startswith(CLIENT_SETTINGS)}
    env = kept | {
        "PATH": _path_without_environment(), "HOME": str(home), "LANG": "C.UTF-8", "PORT": str(free_port()), "FLOWER_PORT": str(free_port()),
        "PIP_NO_CACHE_DIR": "1",
    }  # fmt: skip
    with make_run(checkout, env, place / "cold.out", COLD_LIMIT_S) as made:
        report.round("cold", 1, f"{made.seconds:.0f} s")
    print((place / "cold.out").read_text(encoding="utf-8")[:4000], flush=True)
    report.value("cold: cold start of make run", [made.seconds], "s", 120, 240)
    shutil.rmtree(checkout, ignore_errors=True)


def _path_without_environment() -> str:
    """PATH as it is outside of this repository's virtual environment."""
    inside = str(Path(sys.prefix) / "bin")
    return os.pathsep.join(part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != inside)


def memory_mb(root: int, pids: dict[str, int]) -> dict[str, float]:
    """Return the PSS of `root` and all its descendants in MB, by part; the simulator's is left out."""
    parts: dict[str, float] = {}
    names = {pid: name for name, pid in pids.items()}

    def walk(pid: int, name: str) -> None:
        name = names.get(pid, name)
        parts[name] = parts.get(name, 0.0) + pss_mb(pid)
        for child in children(pid):
            walk(child, name)

    walk(root, "run.py")
    for name, pid in pids.items():
        if name not in parts and alive(pid):
            walk(pid, name)
    parts.pop("simulator", None)
    return parts


def pss_mb(pid: int) -> float:
    """Return the PSS of one process in MB; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in text.splitlines() if line.startswith("Pss:"))


def _said(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(parts.items(), key=lambda part: -part[1]))
