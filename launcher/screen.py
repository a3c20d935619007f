"""What the person sees: one line a step while starting, and one screen at the end."""

import contextlib
import sys
import time
from pathlib import Path

from app.config import Settings
from launcher.instance import ADMIN, ADMIN_PASSWORD_FILE

RULE = "─" * 72
_began = time.monotonic()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    # Whoever read our output may be gone; the instance goes on.
    with contextlib.suppress(OSError):
        print(f"  {time.monotonic() - _began:5.1f} s  {text}", flush=True)


def complain(text: str) -> None:
    """Print a sentence about what went wrong."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def web_url(settings: Settings) -> str:
    """Where a browser on this machine finds the web server."""
    return settings.public_url or url(settings.bind, settings.port)


def url(bind: str, port: int) -> str:
    """An address that can be opened, also for a server that listens everywhere."""
    host = "127.0.0.1" if bind in {"0.0.0.0", "::", ""} else bind  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def first_password(data_dir: Path) -> str | None:
    """The administrator's first password while its file is there."""
    try:
        return (data_dir / ADMIN_PASSWORD_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def welcome(settings: Settings) -> None:
    """The screen at the end of a start."""
    data = _short(settings.data_dir)
    password = first_password(settings.data_dir)
    sign_in = f"{ADMIN} / {password}   (kept in {data}/{ADMIN_PASSWORD_FILE})" if password else f"{ADMIN}, with the password you chose"
    cluster = "simulated Proxmox VE, ready to use" if settings.simulator_wanted else settings.proxmox_endpoint or "none yet: connect one under Clusters"
    rows = [
        ("Open", web_url(settings)),
        ("Sign in", sign_in),
        ("Flower", f"{url(settings.flower_bind, settings.flower_port)}   {settings.flower_user} / {settings.flower_password.get_secret_value()}"),
        ("Cluster", cluster),
        ("Data, logs", f"{data}, {data}/log"),
        ("Stop", "Ctrl-C"),
    ]
    lines = [RULE, f"  Terraform Proxmox Manager is running (started in {time.monotonic() - _began:.1f} s)", ""]
    lines += [f"  {name:<12}{text}" for name, text in rows]
    with contextlib.suppress(OSError):
        print("\n".join([*lines, RULE]), flush=True)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
