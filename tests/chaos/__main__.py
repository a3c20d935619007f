"""`make chaos ROUNDS=40 SEED=7`: print what was done to the product and whether anything was lost or doubled."""

import argparse
import random
import secrets
import sys

from tests.chaos.faults import FAULTS
from tests.chaos.suite import run
from tests.chaos.world import World
from tests.stack import running

CLONE_S = "2"


def main() -> int:
    """Run the suite; 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fault", action="append", default=[], help="only faults whose name has this text")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else secrets.randbelow(1_000_000)
    chosen = [f for f in FAULTS if not args.fault or any(text in f.name for text in args.fault)]
    print(f"seed {seed}, {args.rounds} rounds, {len(chosen)} faults", flush=True)
    with running(SIM_CLONE_SECONDS=CLONE_S) as stack:
        report = run(World(stack, random.Random(seed)), args.rounds, seed, chosen)  # noqa: S311 - repeatable, not secret
    print(report.table(), flush=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
