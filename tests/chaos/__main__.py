"""`make chaos ROUNDS=40 SEED=7`: print what was done to the product and whether anything was lost or doubled."""

import argparse
import random
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.faults_surroundings import small_disk
from tests.chaos.report import Report, summed
from tests.chaos.suite import run
from tests.chaos.world import World
from tests.rabbitmq import rabbitmq
from tests.stack import running

CLONE_S = "2"


def main() -> int:
    """Run the suite, or add up what several runs of it wrote; 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rabbitmq", action="store_true", help="with RabbitMQ as the broker, a node of its own")
    parser.add_argument("--fault", action="append", default=[], help="only faults whose name has this text")
    parser.add_argument("--json", type=Path, default=None, help="add a line for each hit to this file")
    parser.add_argument("--sum", type=Path, nargs="+", default=[], metavar="FILE", help="print the table over what --json wrote, and do nothing else")
    args = parser.parse_args()
    if args.sum:
        report = summed(args.sum)
    else:
        report = suite(args.seed if args.seed is not None else secrets.randbelow(1_000_000), args.rounds, args.fault, args.json, with_rabbitmq=args.rabbitmq)
    print(report.table(FAULTS), flush=True)
    return 1 if report.violations else 0


@contextmanager
def broker(wanted: bool) -> Iterator[dict[str, str]]:
    """Yield what an instance's environment says of its broker."""
    if not wanted:
        yield {}
        return
    with rabbitmq() as node:
        yield {"CELERY_BROKER_URL": node.url}


def suite(seed: int, rounds: int, texts: list[str], json: Path | None, *, with_rabbitmq: bool = False) -> Report:
    """Run so many rounds on an instance of its own."""
    chosen = [f for f in FAULTS if not texts or any(text in f.name for text in texts)]
    print(f"seed {seed}, {rounds} rounds, {len(chosen)} faults", flush=True)
    with broker(with_rabbitmq) as environment, running(SIM_CLONE_SECONDS=CLONE_S, **environment) as stack, small_disk(stack):
        world = World(stack, random.Random(seed))  # noqa: S311 - repeatable, not secret
        try:
            return run(world, rounds, seed, chosen, json)
        finally:
            # Nobody can stop an instance whose watcher is stopped.
            world.take_back()


if __name__ == "__main__":
    sys.exit(main())
