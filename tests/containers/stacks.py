"""The Compose files, as Docker Compose itself reads them."""

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from tests.containers.tools import ROOT, said, tool

FILES = ("docker/compose.yml", "redis/docker-compose.yml")
ALL = (*FILES, "monitoring/docker-compose.yml")
OURS = "terraform-proxmox-manager"


@cache
def loaded(file: str, **environ: str) -> dict[str, Any]:
    """Return the project: schema checked, values filled in, references followed. Fails with what is wrong."""
    path = ROOT / file
    done = said([tool("compose"), path.name], cwd=path.parent, env={"PATH": os.defpath, **environ})
    assert done.returncode == 0, f"{file}: {done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@cache
def services(file: str) -> dict[str, dict[str, Any]]:
    """Return the services by name, those of profiles included."""
    return dict(loaded(file)["services"])


def everywhere() -> list[tuple[str, str]]:
    """Return (file, service) of all files; for parameters, so it needs no tool."""
    import yaml

    return [(file, name) for file in ALL for name in yaml.safe_load((ROOT / file).read_text())["services"]]


def seconds(text: str) -> float:
    """`1m30s` in seconds."""
    total, number = 0.0, ""
    for sign in text:
        if sign in "hms":
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[sign]
            number = ""
        else:
            number += sign
    assert not number, text
    return total


def copied(file: str, place: Path) -> Path:
    """Copy a Compose file to be broken."""
    target = place / Path(file).name
    shutil.copyfile(ROOT / file, target)
    return target
