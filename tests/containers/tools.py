"""Programs that judge files of other people's formats: where they are, or why there is none.

    kustomize = tool("kustomize")    # skips the test with the reason; fails it where CI=true
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.adapters.terraform.provider import GoMissing, find_go
from app.config import client_environment

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".tools" / "go-tools"
BUILD_S = 600
# Built from tests/tools; `compose` is the loader of Docker Compose itself.
FROM_GO = ("compose", "kustomize")


def tool(name: str) -> str:
    """Return the program's path."""
    if name in FROM_GO:
        return _built(name)
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or _without(f"{name} is not installed")


def said(argv: list[str], **more: object) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload,no-any-return]


def _without(reason: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _built(program: str) -> str:
    wanted = "".join((ROOT / "tests/tools" / file).read_text() for file in ("go.mod", "compose/main.go"))
    stamp = BUILT / "built-from"
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _build()
            stamp.write_text(wanted)
    return str(BUILT / program)


def _build() -> None:
    try:
        go = find_go()
    except GoMissing as exc:
        _without(f"Compose files and overlays are read by programs that Go builds: {exc}")
    env = {
        "PATH": os.pathsep.join([str(Path(go).parent), os.defpath]), "HOME": os.environ.get("HOME", os.devnull), **client_environment(),
        "GOBIN": str(BUILT), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOTELEMETRY": "off",
    }  # fmt: skip
    done = subprocess.run([go, "install", "-trimpath", "./...", "tool"], cwd=ROOT / "tests/tools", env=env, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode:
        _without(f"tests/tools cannot be built: {done.stderr[-1000:]}")
