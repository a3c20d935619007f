"""The whole product as a person starts it: `python run.py` on free ports, and a small client for it.

Used by the system, browser and bench suites. Everything lies below a temporary DATA_DIR.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
FINAL = {"applied", "planned_and_finished", "errored", "canceled", "discarded"}
FINAL_ACTION = {"succeeded", "failed", "canceled"}


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], T | None], timeout_s: float = 30.0, what: str = "") -> T:
    """Return the first truthy answer; fails after `timeout_s`. Other processes' facts have no event to wait on here."""
    end = time.monotonic() + timeout_s
    gate = socket.socketpair()
    try:
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"did not happen within {timeout_s} s: {what or look}")
            gate[0].settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                gate[0].recv(1)
    finally:
        gate[0].close()
        gate[1].close()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `json` is None when it is not JSON."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def codes(self) -> dict[str, str]:
        """Field → code of a refused body."""
        return {e["field"]: e["code"] for e in self.json.get("errors", [])}


@dataclass
class Api:
    """The product's API with one user's token."""

    base: str
    token: str

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout_s: float = 30) -> Answer:
        """Make one request; HTTP errors are answers too."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())

    def get(self, path: str) -> Any:
        """GET that must succeed, as JSON."""
        answer = self.call("GET", path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.text[:500]}"
        return answer.json

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, {} if body is None else body, headers)

    def create(self, name: str, template: str = "ubuntu-24.04", **more: Any) -> dict[str, Any]:
        """Request servers; returns the 202's body."""
        answer = self.post("/api/servers/async", {"name": name, "template": template, **more})
        assert answer.status == 202, answer.text
        body: dict[str, Any] = answer.json
        return body

    def change(self, name: str, **more: Any) -> dict[str, Any]:
        answer = self.call("PATCH", f"/api/servers/{name}", more)
        assert answer.status == 202, answer.text
        body: dict[str, Any] = answer.json
        return body

    def delete(self, name: str, **more: Any) -> dict[str, Any]:
        answer = self.call("DELETE", f"/api/servers/{name}", {"confirm": name, **more})
        assert answer.status == 202, answer.text
        body: dict[str, Any] = answer.json
        return body

    def run(self, run_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/runs/{run_id}")
        return found

    def wait_run(self, run_id: int, *states: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the run is in one of the states (default: any final one)."""
        wanted = set(states) or FINAL

        def look() -> dict[str, Any] | None:
            run = self.run(run_id)
            if run["state"] in FINAL - wanted:
                raise AssertionError(f"run ended {run['state']} instead of {wanted}: {run['error']}\n{self.log(run_id)}")
            return run if run["state"] in wanted else None

        return eventually(look, timeout_s, f"run {run_id} in {wanted}")

    def wait_task(self, task_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until a task is final."""
        return eventually(lambda: (t := self.get(f"/api/tasks/{task_id}"))["finished_at"] and t, timeout_s, f"task {task_id}")

    def log(self, run_id: int) -> str:
        return self.call("GET", f"/api/runs/{run_id}/log").text

    def made(self, name: str, template: str = "ubuntu-24.04", **more: Any) -> list[str]:
        """Create servers and wait until they run; returns their names."""
        body = self.create(name, template, **more)
        self.wait_run(body["run_id"], "applied", timeout_s=120)
        names: list[str] = body["servers"]
        return names


@dataclass
class Stack:
    """A running instance; `environment` is added to what run.py gets, `root` is where the product lies."""

    data_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    root: Path = ROOT
    process: "subprocess.Popen[bytes] | None" = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.output = self.data_dir.with_name(self.data_dir.name + ".out")
        settings = {
            "DATA_DIR": str(self.data_dir), "PORT": str(free_port()), "FLOWER_PORT": str(free_port()), "SIM_CONTROL": "1",
            "SIM_TIME_SCALE": "0.02", "TERRAFORM_WORKERS": "4", "ENV_FILE": str(self.data_dir / "no.env"),
        }  # fmt: skip
        self.environment = settings | self.environment

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TERRAFORM_BIN", "TPM_PROVIDER_MIRROR")}
        return kept | self.environment

    def start(self, timeout_s: float = 90) -> None:
        """Start and wait for the screen that says it runs."""
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(self.root / "run.py")], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

        def up() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"run.py ended with {self.process.returncode}:\n{self.output.read_text()[-4000:]}")
            return "is running" in self.output.read_text()

        eventually(up, timeout_s, "run.py is running")

    def stop(self, timeout_s: float = 20) -> None:
        """Stop as Ctrl-C does."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout_s)

    def cli(self, *args: str) -> str:
        """Run `python run.py ARGS` beside the instance and return what it printed."""
        done = subprocess.run(
            [sys.executable, str(self.root / "run.py"), *args], cwd=self.root, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cli("info"))
        return found

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def admin_password(self) -> str:
        return (self.data_dir / "admin-password").read_text().strip()

    def api(self, username: str = "admin") -> Api:
        """Return a client with a fresh token."""
        return Api(self.base, self.cli("token", username, "--name", "tests-" + secrets.token_hex(4)))

    def user(self, username: str, role: str) -> tuple[Api, str]:
        """Add a user; returns a client and the password."""
        password = self.cli("user", "add", username, "--role", role)
        return self.api(username), password

    # ---- the simulated cluster
    def control(self, op: str, **arguments: Any) -> Any:
        """Use the simulator's control port."""
        # Not from `info`, which takes longer than some of what is disturbed here: the port is kept over restarts.
        port = json.loads((self.data_dir / "instance.json").read_text())["simulator_control_port"]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{op}", data=json.dumps(arguments).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def refuse_next(self, message: str, status: int = 500) -> None:
        """Let the next clone fail, the test's own: first whatever former tests left running comes to its end."""
        moving = "select 1 from run where state in ('plan_queued', 'planning', 'apply_queued', 'applying')"
        eventually(lambda: not self.sql(moving), 90, "nothing runs any more")
        self.control("fail", method="POST", suffix="/clone", status=status, message=message, times=1)

    def vms(self) -> dict[int, dict[str, Any]]:
        """Return the guests of the simulated cluster by VMID."""
        return {vm["vmid"]: vm for vm in self.control("vms")}

    def runner_pid(self, run_id: int) -> int:
        """Return the pid of the newest runner of a run, from its lease."""
        return int(self.sql(f"select pid from run_lease where run_id = {int(run_id)} and pid is not null order by fence desc limit 1")[0][0])

    def sql_write(self, text: str) -> None:
        """Change the instance's database behind its back."""
        self.sql(text)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Read the instance's database."""
        import psycopg2

        url = json.loads((self.data_dir / "instance.json").read_text())["database_url"].replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(url, connect_timeout=3)) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            connection.commit()
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def running(root: Path = ROOT, **environment: str) -> Iterator[Stack]:
    """A stack in a temporary place, stopped and removed afterwards."""
    place = Path(tempfile.mkdtemp(prefix="tpm-stack-"))
    stack = Stack(place / "var", environment, root)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(place, ignore_errors=True)


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    out = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                out.append(int(stat.parent.name))
    return out


def processes(stack: Stack) -> dict[int, str]:
    """Return the command lines of all processes of an instance, by pid: everything knows its DATA_DIR."""
    mark, found = str(stack.data_dir).encode(), {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (place / "cmdline").read_bytes()
            if mark in line or mark in (place / "environ").read_bytes():
                found[int(place.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
