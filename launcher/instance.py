"""What an instance keeps about itself under DATA_DIR: its lock, its secrets and ports, and who runs."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.config import INSTANCE_FILE, Settings
from embedded.process import is_same, start_time

PIDS_FILE = "pids.json"
# There while a restore works: what it leaves when it is killed is no instance.
UNFINISHED_FILE = "restoring"
ADMIN = "admin"
ADMIN_PASSWORD_FILE = "admin-password"
# Below the range from which the kernel takes ports for outgoing connections, so that a kept port stays free.
PORTS = range(20_000, 32_000)


class Refusal(Exception):
    """The instance cannot be started as asked; the text says why and what to do."""


def make_directories(data_dir: Path) -> None:
    """Make DATA_DIR with its folders, readable by their owner only."""
    try:
        for path in (data_dir, *(data_dir / name for name in ("log", "tmp", "home", "cache", "beat"))):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise Refusal(f"DATA_DIR {data_dir} cannot be made or written: {exc.strerror}. Choose another DATA_DIR") from None


def refuse_unfinished(data_dir: Path) -> None:
    """Refuse a DATA_DIR in which a restore was interrupted. Raises Refusal."""
    if (data_dir / UNFINISHED_FILE).exists():
        raise Refusal(f"a restore into {data_dir} did not come to its end: run it again, or remove that directory")


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold DATA_DIR against a second instance. Raises Refusal."""
    with (data_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip()
            who = f" (process {owner})" if owner else ""
            raise Refusal(
                f"another instance{who} already runs in {data_dir}: stop it, or set another DATA_DIR with other PORT and FLOWER_PORT"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file as a whole, readable by its owner only."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class Instance:
    """The kept values (`instance.json`): made once, completed when something new is needed."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / INSTANCE_FILE
        self.values = read_json(self.path)
        if self.path.exists() and not self.values:
            raise Refusal(f"{self.path} is damaged: restore it from a backup; without it the stored secrets cannot be read")

    def complete(self, settings: Settings) -> None:
        """Make what is missing: secrets, and free ports for the embedded servers."""
        before = dict(self.values)
        if settings.app_env != "production":
            self._secret("secret_key", settings)
            self._secret("encryption_keys", settings)
        self._secret("flower_password", settings, length=12)
        if not settings.configured_database:
            password = self.values.setdefault("postgres_secret", secrets.token_urlsafe(24))
            port = self._port("postgres_port")
            self.values["database_url"] = f"postgresql+psycopg2://app:{password}@127.0.0.1:{port}/postgres"
        if not settings.configured_redis:
            password = self.values.setdefault("valkey_secret", secrets.token_urlsafe(24))
            self.values["redis_url"] = f"redis://:{password}@127.0.0.1:{self._port('valkey_port')}/0"
        if settings.simulator_wanted:
            self._port("simulator_port")
            if settings.sim_control:
                self._port("simulator_control_port")
        if self.values != before:
            write_json(self.path, self.values)

    def text(self, name: str) -> str:
        """A kept text."""
        return str(self.values[name])

    def port(self, name: str) -> int:
        """A kept port."""
        return int(self.values[name])

    def _secret(self, name: str, settings: Settings, length: int = 48) -> None:
        if settings.source(name) in ("default", "instance") and not self.values.get(name):
            self.values[name] = secrets.token_urlsafe(length)

    def _port(self, name: str) -> int:
        """The kept port; another one when somebody else took it meanwhile."""
        kept = self.values.get(name)
        if not isinstance(kept, int) or not port_free("127.0.0.1", kept):
            taken = {value for key, value in self.values.items() if key.endswith("_port")}
            self.values[name] = free_port(taken)
        return int(self.values[name])


def port_free(host: str, port: int) -> bool:
    """True when a server can listen there."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, proto) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1)
    except OSError:
        return False
    return True


def free_port(taken: set[int]) -> int:
    """A port nobody listens on. Raises Refusal."""
    for _ in range(500):
        port = secrets.choice(PORTS)
        if port not in taken and port_free("127.0.0.1", port):
            return port
    raise Refusal(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def check_ports(settings: Settings) -> None:
    """Refuse when the web port or Flower's cannot be listened on. Raises Refusal."""
    if settings.port == settings.flower_port:
        raise Refusal(f"PORT and FLOWER_PORT are both {settings.port}: give each its own")
    for name, bind, port in (("PORT", settings.bind, settings.port), ("FLOWER_PORT", settings.flower_bind, settings.flower_port)):
        if not port_free(bind, port):
            if port < 1024 and os.geteuid() != 0:
                raise Refusal(f"port {port} on {bind} may only be used by root: set {name} to 1024 or more")
            raise Refusal(
                f"port {port} on {bind} is in use by another program: stop it, or set {name} to a free port, "
                f"for example {name}={_next_free(bind, port)} make run"
            )


def _next_free(bind: str, port: int) -> int:
    return next((p for p in range(port + 1, min(port + 200, 65_536)) if port_free(bind, p)), port + 1)


class Pids:
    """Who runs, by name, in a file that others read: pid and start time, so that a reused pid is not mistaken."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / PIDS_FILE
        content = read_json(self.path)
        self.entries = {k: (int(v[0]), int(v[1])) for k, v in content.get("pids", {}).items()}
        self.urls: dict[str, str] = content.get("urls", {})

    def begin(self, urls: dict[str, str]) -> None:
        """Record that this process starts an instance which will answer there."""
        self.entries, self.urls = {}, urls
        self.note("run", os.getpid())

    def note(self, name: str, pid: int) -> None:
        """Record a process that was just started."""
        self.entries[name] = (pid, start_time(pid) or 0)
        self._write()

    def forget(self) -> None:
        """Record that nothing runs."""
        self.entries = {}
        self._write()

    def alive(self, name: str) -> int | None:
        """The pid while that process lives."""
        pid, began = self.entries.get(name, (0, 0))
        return pid if pid and is_same(pid, began) else None

    def _write(self) -> None:
        write_json(self.path, {"pids": {k: list(v) for k, v in self.entries.items()}, "urls": self.urls})
