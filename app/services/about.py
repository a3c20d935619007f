"""What this is made of: versions of its parts, and the licences of what comes with it."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.config import get_settings
from app.services import terraform

ROOT = Path(__file__).resolve().parents[2]
DISTS = ROOT / "app" / "static" / "dist" / "packages.json"
TIMEOUT_S = 0.5


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Part:
    """One part of the running installation; an empty version is not known now."""

    name: str
    version: str


def parts(session: Session) -> list[Part]:
    """Return the versions in use."""
    return [
        Part("Terraform Proxmox Manager", version()), *(Part(name, number) for name, number in terraform.versions().items()),
        Part("PostgreSQL", str(session.scalar(text("show server_version")) or "").split(" ")[0]), Part("Redis", _redis()), Part("Python", platform.python_version()),
    ]  # fmt: skip


def version() -> str:
    """Return the product's own version."""
    for line in (ROOT / "pyproject.toml").read_text("utf-8").splitlines():
        if line.startswith("version ="):
            return line.partition("=")[2].strip().strip('"')
    return ""


def _redis() -> str:
    url = get_settings().redis_url
    try:
        with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None) as client:
            found = client.info("server")
            return str(found.get("valkey_version") or found.get("redis_version") or "")
    except redis.RedisError:
        return ""


@lru_cache(maxsize=1)
def packages() -> Sequence[Package]:
    """Return the packages that are installed here, Python's and the browser's, by name."""
    found = {p.metadata["Name"]: Package(p.metadata["Name"], p.version, _licence(p.metadata)) for p in metadata.distributions()}
    browser = json.loads(DISTS.read_text("utf-8")) if DISTS.exists() else []
    return sorted([*found.values(), *(Package(p["name"], p["version"], p["licence"]) for p in browser)], key=lambda p: p.name.lower())


def _licence(of: "metadata.PackageMetadata") -> str:
    """Return the licence as the package says it: an expression, a classifier, or the first line of a text."""
    named = next(iter(of.get_all("License-Expression") or []), "")
    classified = next((c.rpartition(" :: ")[2] for c in of.get_all("Classifier") or [] if c.startswith("License ::")), "")
    written = "\n".join(of.get_all("License") or []).strip().split("\n")[0]
    return str(named or classified or written)[:80]
