"""A process of the product's own code that sweeps: `python -m tests.bench.ticks ROUNDS TICKS` prints seconds, a line a round."""

import sys
import time

from app.config import get_settings
from app.services import sweeper
from app.services.context import application


def main() -> None:
    """Tick so often, after one that warms up."""
    rounds, ticks = int(sys.argv[1]), int(sys.argv[2])
    with application(get_settings()):
        sweeper.tick()
        for _ in range(rounds):
            seconds = []
            for _ in range(ticks):
                began = time.perf_counter()
                sweeper.tick()
                seconds.append(time.perf_counter() - began)
            print(*seconds, flush=True)


if __name__ == "__main__":
    main()
