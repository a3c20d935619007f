"""The one entry: `python run.py` starts everything; `python run.py --help` names the rest."""

import argparse
import json
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")

PARTS = {
    "web": "the web server",
    "worker": "a Celery worker: all queues, or those of --queues",
    "beat": "Celery's clock",
    "flower": "Flower",
    "simulator": "the simulated Proxmox cluster",
    "migrate": "bring the database to the newest revision, then end",
}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="run.py", description="Without a command: start everything that is not configured elsewhere.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in PARTS.items():
        part = commands.add_parser(name, help=text)
        if name == "worker":
            part.add_argument("-Q", "--queues", help="comma separated: terraform, proxmox, default")
            part.add_argument("-c", "--concurrency", type=int, help="tasks at once; by default TERRAFORM_WORKERS, for short work alone ACTION_THREADS")
            part.add_argument("-B", "--beat", action="store_true", help="with the clock in it; a second clock does no harm")
    token = commands.add_parser("token", help="print a new API token and nothing else")
    token.add_argument("username")
    token.add_argument("--name", required=True, help="what the token is for")
    user = commands.add_parser("user", help="manage users")
    add = user.add_subparsers(dest="action", required=True, metavar="ACTION").add_parser("add", help="print the new user's password and nothing else")
    add.add_argument("username")
    add.add_argument("--role", required=True, help="administrator, operator, developer or viewer")
    backup = commands.add_parser("backup", help="write the database and the keys into one file, also while everything runs")
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = commands.add_parser("restore", help="make a new installation out of a backup, in an empty DATA_DIR")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument("--take-over", action="store_true", help="take the original's place; without it the copy gets an id of its own and its runs are paused")
    commands.add_parser("rotate-keys", help="encrypt everything that is stored anew, under the first of ENCRYPTION_KEYS; also while everything runs")
    commands.add_parser("info", help="print JSON about the running instance")
    doctor = commands.add_parser("doctor", help="look at everything that has to be there, and say what to do about what is not")
    doctor.add_argument("--json", action="store_true", help="for programs")
    # Not listed: a step of the start.
    commands.add_parser("prepare")
    return parser.parse_args()


def main() -> int:
    """Run the command; the exit code."""
    args = arguments()
    # Imported late: what the watcher of an instance imports stays in memory for as long as it runs.
    from app.config import ConfigError, load_settings
    from launcher.instance import Refusal

    try:
        if args.command is None:
            from launcher.start import start

            return start()
        if args.command == "info":
            from launcher.info import info

            print(json.dumps(info(load_settings()), indent=2))
            return 0
        if args.command == "doctor":
            from launcher import doctor

            return doctor.run(as_json=args.json)
        if args.command in ("backup", "restore"):
            from launcher import backup

            return backup.backup(args.file) if args.command == "backup" else backup.restore(args.file, take_over=args.take_over)
        from launcher import commands

        return commands.run(args)
    except ConfigError as exc:
        print(f"Configuration: {exc}", file=sys.stderr)
        return 2
    except Refusal as exc:
        print(exc, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
