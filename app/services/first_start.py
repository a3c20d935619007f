"""What a new installation begins with: its id, a project, an administrator, a cluster. Harmless at every start."""

import json
import os
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from app.config import Settings
from app.domain.permissions import Role
from app.log import get_logger
from app.models import Cluster, Project, User
from app.services import cluster_connection, inventory, presets, settings, users
from app.services.context import application
from app.services.uow import UnitOfWork, unit_of_work

log = get_logger(__name__)
ADMIN = "admin"
ADMIN_PASSWORD_FILE = "admin-password"  # noqa: S105 - a file's name
DEFAULT_PROJECT = "default"
LOCK_KEY = 5_208_164_212  # any constant: one process at a time makes the first rows


def ensure(config: Settings, simulator_dir: Path | None = None) -> None:
    """Make what is missing. `simulator_dir` holds the connection of the simulated cluster when it runs."""
    with application(config):
        password_file = config.data_dir / ADMIN_PASSWORD_FILE
        with unit_of_work() as uow:
            uow.session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            settings.ensure_installation_id(uow)
            uow.session.execute(insert(Project).values(name=DEFAULT_PROJECT).on_conflict_do_nothing())
            presets.add_first(uow)
            _ensure_administrator(uow, password_file)
        _connect(config, simulator_dir)


def _ensure_administrator(uow: UnitOfWork, password_file: Path) -> None:
    password = users.ensure_administrator(uow, ADMIN)
    if password is not None:
        # Before the commit: a password that nobody can read must not become the administrator's.
        write_secret(password_file, password)
        return
    first = uow.session.scalars(select(User).where(User.username == ADMIN)).one_or_none()
    if first is None or not first.password_is_first or first.role is not Role.ADMINISTRATOR:
        password_file.unlink(missing_ok=True)  # it was changed: the file would lie


def write_secret(path: Path, secret: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secret + "\n")
    fresh.replace(path)


def _connect(config: Settings, simulator_dir: Path | None) -> None:
    polled: list[int] = []
    with unit_of_work() as uow:
        if simulator_dir is not None:
            polled.append(_connect_simulated(uow, simulator_dir).id)
        if config.proxmox_endpoint and config.proxmox_token_secret is not None:
            polled.append(_connect_configured(uow, config, config.proxmox_token_secret).id)
    for cluster_id in polled:
        # So that templates are there when the first page is opened. A cluster that does not answer stops no start.
        inventory.poll(cluster_id, due_s=0)


def _connect_simulated(uow: UnitOfWork, folder: Path) -> Cluster:
    connection = json.loads((folder / "connection.json").read_text(encoding="utf-8"))
    endpoint = str(connection["url"]).rstrip("/").removesuffix("/api2/json")
    secret = (folder / "token").read_text(encoding="utf-8").strip()
    ca_pem = Path(connection["ca"]).read_text(encoding="utf-8")
    return cluster_connection.connect_embedded(uow, endpoint, str(connection["token_id"]), secret, ca_pem)


def _connect_configured(uow: UnitOfWork, config: Settings, secret: SecretStr) -> Cluster:
    ca_pem = config.proxmox_ca_file.read_text(encoding="utf-8") if config.proxmox_ca_file else None
    return cluster_connection.connect_configured(uow, config.proxmox_endpoint, config.proxmox_token_id, secret, ca_pem)
