"""The commands beside the start of everything: one part alone, and what works beside a running instance."""

import argparse
import os
import sys
from collections.abc import Callable

from app.config import Settings, check_complete, get_settings, load_settings
from launcher import parts, together
from launcher.instance import Instance, Refusal, make_directories


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code. Raises ConfigError, Refusal."""
    match args.command:
        case "token":
            return _print(lambda: _issue_token(args.username, args.name))
        case "user":
            return _print(lambda: _add_user(args.username, args.role))
        case "rotate-keys":
            return _with_application(lambda _settings: _rotate_keys())
        case "migrate" | "prepare":
            return _with_application(lambda settings: _prepare(settings, skeleton=args.command == "prepare"))
    settings = load_settings()
    make_directories(settings.data_dir)
    if args.command == "simulator":
        instance = Instance(settings.data_dir)
        instance.complete(settings)
        control = instance.port("simulator_control_port") if settings.sim_control else None
        parts.execute(settings, parts.simulator(settings, instance.port("simulator_port"), control))
    check_complete(settings)
    command = {
        "web": parts.web,
        "worker": lambda s: parts.worker_all(s, args.queues or s.worker_queues or None, args.concurrency or s.worker_concurrency, clock=args.beat),
        "beat": parts.beat,
        "flower": _flower,
    }[args.command](settings)
    if args.command == "worker" and together.wanted(settings):
        return together.run(settings, command)
    parts.execute(settings, command)
    return 0


def _issue_token(username: str, name: str) -> str:
    from app.services import users

    return users.issue_token(username, name)


def _add_user(username: str, role: str) -> str:
    from app.services import users

    return users.add_user(username, role)


def _rotate_keys() -> None:
    from app.services import key_rotation

    found = key_rotation.rotate()
    for one in found:
        print(f"{one.column}: {one.anew} encrypted anew, {one.before} were already")
    if lost := [f"{one.column} of {', '.join(map(str, one.unreadable))}" for one in found if one.unreadable]:
        raise Refusal(f"none of ENCRYPTION_KEYS opens {'; '.join(lost)}: add the key that does, in whatever place but the first, and call this again")


def _flower(settings: Settings) -> parts.Command:
    if not settings.flower_password.get_secret_value():
        raise Refusal("FLOWER_PASSWORD is not set: Flower shows every task's arguments and is never started without a password")
    return parts.flower(settings)


def _prepare(settings: Settings, *, skeleton: bool) -> None:
    from app import database
    from app.services import first_start

    os.umask(0o077)
    make_directories(settings.data_dir)
    database.upgrade(settings)
    connection = settings.simulator_dir if (settings.simulator_dir / "connection.json").exists() else None
    first_start.ensure(settings, connection if settings.simulator_wanted else None)
    if skeleton:
        _warm_terraform(settings)


def _warm_terraform(settings: Settings) -> None:
    """Make Terraform's skeleton before the first run needs it. Its absence stops nothing: /readyz and the form say so."""
    from app.adapters.terraform.skeleton import ensure_skeleton
    from app.errors import AppError

    try:
        ensure_skeleton(settings=settings)
    except AppError as exc:
        print(f"Terraform is not ready: {exc.detail or exc.code}", file=sys.stderr)


def _print(ask: Callable[[], str]) -> int:
    return _with_application(lambda _settings: print(ask()))


def _with_application(action: Callable[[Settings], None]) -> int:
    """Do something inside the application; expected failures are one sentence."""
    settings = get_settings()

    from sqlalchemy.exc import OperationalError

    from app.errors import AppError
    from app.log import configure
    from app.services.context import application

    # What is logged goes to stderr: scripts read the standard output.
    configure()
    try:
        with application(settings):
            action(settings)
    except AppError as exc:
        print(exc.detail or exc.code, file=sys.stderr)
        return 1
    except OperationalError as exc:
        print(f"the database does not answer; is the instance running? ({str(exc.orig).strip().splitlines()[0]})", file=sys.stderr)
        return 1
    return 0
