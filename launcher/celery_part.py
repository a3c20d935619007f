"""A Celery worker, beat, or Flower, without Celery's command line: `python -m launcher.celery_part worker|beat|flower …`.

`celery -A app.celery_app worker` does the same. But the command line loads the commands of every plugin before it begins,
Flower with its web server and a shell among them: 25 MB (7 in Flower itself) and 0.2 s of processor time in each process.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from celery import Celery
from celery.utils.nodenames import default_nodename, host_format

from launcher import sign_of_life
from launcher.parts import LIGHT_APP

WORKER_APP = "app.celery_app"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="celery_part")
    parts = parser.add_subparsers(dest="part", required=True)
    worker = parts.add_parser("worker")
    worker.add_argument("-Q", "--queues", default=None)
    worker.add_argument("-n", "--hostname", default=None)
    worker.add_argument("-P", "--pool", default="prefork")
    worker.add_argument("-c", "--concurrency", type=int, required=True)
    worker.add_argument("--waiting", type=int, default=0, help="processes kept while nothing happens; by default all of --concurrency")
    worker.add_argument("-B", "--beat", action="store_true")
    worker.add_argument("-s", "--schedule", default=None)
    beat = parts.add_parser("beat")
    beat.add_argument("-s", "--schedule", required=True)
    flower = parts.add_parser("flower")
    flower.add_argument("option", nargs="*", help="Flower's own, after `--`")
    return parser.parse_args()


def main() -> int:
    """Become that part; the exit code."""
    args = arguments()
    sys.path.insert(0, os.getcwd())
    app: Celery = import_module(WORKER_APP if args.part == "worker" else LIGHT_APP).celery
    app.set_current()
    if args.part == "flower":
        from celery.bin.base import CLIContext  # noqa: PLC0415 - only here
        from click import Context, Group  # noqa: PLC0415
        from flower.command import flower  # type: ignore[import-untyped]  # noqa: PLC0415

        celery = Context(Group("celery"), obj=CLIContext(app=app, no_color=True, workdir=None, quiet=True))
        flower.main(args.option, prog_name="flower", parent=celery, standalone_mode=False)
        return 0
    if args.schedule:
        sign_of_life.given_by(Path(args.schedule))
    if args.part == "beat":
        app.Beat(schedule=args.schedule, pidfile=None, loglevel="WARNING").run()
        return 0
    # Grown in the moment a message finds all busy; given back after half a minute without one.
    autoscale = (args.concurrency, args.waiting) if 0 < args.waiting < args.concurrency else None
    worker = app.Worker(
        hostname=host_format(default_nodename(args.hostname)), pool_cls=args.pool, queues=args.queues, concurrency=args.concurrency,
        autoscale=autoscale, loglevel="INFO", without_gossip=True, without_mingle=True, beat=args.beat, schedule_filename=args.schedule,
    )  # fmt: skip
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
