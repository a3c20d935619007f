"""`python run.py info`: what runs, as JSON; also while parts of it are dead. Takes no lock and asks no process."""

from pathlib import Path
from typing import Any

from app.config import Settings
from launcher.instance import ADMIN, ADMIN_PASSWORD_FILE, Pids, read_json

NAMES = ("web", "worker", "worker_actions", "beat", "flower", "postgres", "valkey", "simulator")


def info(settings: Settings) -> dict[str, Any]:
    """The facts that scripts and tests need; what does not run is None."""
    pids = Pids(settings.data_dir)
    alive = {name: pids.alive(name) for name in NAMES}
    return {
        "web": pids.urls.get("web") if alive["web"] else None,
        "flower": pids.urls.get("flower") if alive["flower"] else None,
        "data_dir": str(settings.data_dir),
        "admin": {"username": ADMIN, "password_file": _existing(settings.data_dir / ADMIN_PASSWORD_FILE)},
        "pids": alive,
        "simulator": _simulator(settings) if alive["simulator"] else None,
    }


def _simulator(settings: Settings) -> dict[str, Any] | None:
    directory = settings.simulator_dir
    connection = read_json(directory / "connection.json")
    if not connection:
        return None
    return {
        "endpoint": str(connection.get("url", "")).rstrip("/").removesuffix("/api2/json"),
        "token_id": connection.get("token_id"),
        "token_file": str(directory / "token"),
        "ca_file": connection.get("ca"),
        "control": connection.get("control"),
    }


def _existing(path: Path) -> str | None:
    return str(path) if path.exists() else None
