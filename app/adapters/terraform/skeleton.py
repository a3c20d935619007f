"""A working directory initialised once, which every run copies instead of calling `init`.

    skeleton = ensure_skeleton(data_dir)
    shutil.copytree(skeleton.directory, work, symlinks=True)    # then TF_CLI_CONFIG_FILE=skeleton.cli_config

The module, `.terraform`, the lock file; the backend is `http` with nothing filled in, so that TF_HTTP_* decides. The
command line configuration knows our mirror and no network.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from app.adapters.terraform.binary import TerraformBinary, find_terraform, tool_environment
from app.adapters.terraform.provider import VERSION, find_provider, provider_file
from app.config import ROOT, Settings, get_settings
from app.errors import ProviderMissing, TerraformMissing

MODULE = ROOT / "app" / "hcl" / "proxmox_vm"
INIT_TIMEOUT_S = 120


@dataclass(frozen=True)
class Skeleton:
    """`directory` is to be copied with its symbolic links; `cli_config` stays where it is."""

    directory: Path
    cli_config: Path
    binary: TerraformBinary


def ensure_skeleton(data_dir: Path | None = None, settings: Settings | None = None) -> Skeleton:
    """Return the skeleton for this Terraform, module and provider, making it if needed.

    Raises TerraformMissing, ProviderMissing.
    """
    settings = settings or get_settings()
    binary = find_terraform(settings)
    mirror = find_provider(binary, settings)
    base = (data_dir or settings.data_dir) / "terraform"
    home = base / f"{binary.flavour}-{binary.version}-{_fingerprint(binary, mirror)}"
    skeleton = Skeleton(home / "module", home / "cli.tfrc", binary)
    if not home.is_dir():
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (base / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not home.is_dir():
                _make(home, binary, mirror)
    return skeleton


def _fingerprint(binary: TerraformBinary, mirror: Path) -> str:
    """Short hash of everything the skeleton is made of, its absolute links included."""
    digest = hashlib.sha256()
    program = provider_file(mirror, binary.provider_host)
    if program is None:
        raise ProviderMissing("the provider has just been removed")
    stat = program.stat()
    digest.update(repr((VERSION, str(program), stat.st_size, stat.st_mtime_ns)).encode())
    for source in sorted(MODULE.glob("*.tf")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:12]


def _make(home: Path, binary: TerraformBinary, mirror: Path) -> None:
    """Make the directory beside its final place and move it there whole."""
    with tempfile.TemporaryDirectory(prefix="making-", dir=home.parent) as name:
        fresh = Path(name) / "skeleton"
        module = fresh / "module"
        module.mkdir(mode=0o700, parents=True)
        for source in MODULE.glob("*.tf"):
            shutil.copyfile(source, module / source.name)
        cli_config = fresh / "cli.tfrc"
        # No `direct` method: what the mirror lacks must fail instead of being fetched.
        cli_config.write_text(f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        _init(binary, module, cli_config, Path(name))
        fresh.rename(home)


class _NoState(BaseHTTPRequestHandler):
    """Answers 404, "there is no state yet", to everything."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


@contextmanager
def _empty_backend() -> Iterator[str]:
    # `init` reads the state once; the address is given by environment, so that none is written into the skeleton.
    server = HTTPServer(("127.0.0.1", 0), _NoState)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _init(binary: TerraformBinary, module: Path, cli_config: Path, scratch: Path) -> None:
    with _empty_backend() as address:
        try:
            done = subprocess.run(
                [*binary.argv, "init", "-input=false", "-no-color"],
                cwd=module,
                env=tool_environment(scratch, cli_config) | {"TF_HTTP_ADDRESS": address},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=INIT_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise TerraformMissing(f"{binary.argv[0]} init cannot be run: {exc}") from exc
    if done.returncode:
        raise ProviderMissing(f"{binary.argv[0]} init ended with exit code {done.returncode}:\n{done.stdout[-2000:]}")
