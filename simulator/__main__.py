# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m simulator --dir DATA --port N`: run the simulated cluster until SIGTERM.

DATA gets fakepve.crt (clients take it as their CA), connection.json (address and credentials), token and the state.
"""

import argparse
import asyncio
import copy
import json
from pathlib import Path

from simulator.cluster import Simulator
from simulator.spec import DEMO


def main() -> None:
    """Run with the command line's arguments."""
    p = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    p.add_argument("--dir", type=Path, required=True, help="everything is written here")
    p.add_argument("--spec", type=Path, help="the cluster as JSON (default: a demo cluster of three nodes)")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=8006)
    p.add_argument("--control-port", type=int, help="loopback port for faults (default: none)")
    p.add_argument("--time-scale", type=float, default=1.0, help="share of the real durations; 0: tasks end at once")
    p.add_argument(
        "--clone-seconds", type=float, help="seconds that every clone takes, whatever its size and the scale"
    )
    p.add_argument("--clone-limit", type=int, default=0, help="clones of one template at a time (0: no limit)")
    p.add_argument("--guests", type=int, default=0, help="synthetic guests to add")
    args = p.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    spec = json.loads(args.spec.read_text(encoding="utf-8")) if args.spec else copy.deepcopy(DEMO)
    simulator = Simulator(spec, args.dir, args.host, args.port)
    simulator.set_pace(args.time_scale, args.clone_seconds, args.clone_limit)
    if args.guests:
        simulator.populate(args.guests)
        simulator.save()
    asyncio.run(simulator.serve(args.control_port))


if __name__ == "__main__":
    main()
