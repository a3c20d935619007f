"""A run's own directory: the skeleton copied, inputs, import blocks, the saved plan."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.adapters.terraform.command import ADDRESS


def prepare(folder: Path, skeleton: Path) -> None:
    """Copy what `init` made once into the run's directory; harmless when it is there already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for source in skeleton.iterdir():
        target = folder / source.name
        if target.exists() or target.is_symlink():
            continue
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    temp = path.with_name(path.name + ".new")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as out:
        out.write(text)
    temp.replace(path)


def write_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Write the inputs as JSON: no HCL is ever made from strings, and JSON values are taken literally."""
    _write(folder / "terraform.tfvars.json", json.dumps(inputs))


def write_imports(folder: Path, found: Sequence[tuple[str, str]]) -> None:
    """Write import blocks for (slug, "node/vmid"); both are of our own making and checked by pattern."""
    blocks = {"import": [{"to": ADDRESS.format(slug), "id": identity} for slug, identity in found]}
    path = folder / "adopt.tf.json"
    if found:
        _write(path, json.dumps(blocks))
    else:
        path.unlink(missing_ok=True)


def write_plan(folder: Path, body: bytes, name: str = "run.tfplan") -> Path:
    """Write a stored plan for its apply."""
    path = folder / name
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(body)
    return path


def remove(folder: Path) -> None:
    """Remove the directory once everything in it is stored."""
    shutil.rmtree(folder, ignore_errors=True)
