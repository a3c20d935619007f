"""A fault, and what came of it: every fault says which run it struck, or that its target was not there."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.chaos.world import World

Act = Callable[[World, int], bool]


@dataclass(frozen=True)
class Fault:
    """`strike` returns the run that was in the phase when its target was hit; None when there was nothing to hit.

    `lasts_s`: for how long what it does goes on. `noticed`: it takes something of the run's own away, which its timeline
    must tell of; without, an event after it is another fault's. `missing`: why it cannot be had on this machine.
    """

    name: str
    strike: Callable[[World], int | None]
    lasts_s: float = 0.0
    noticed: bool = False
    missing: str = ""


@dataclass
class Hit:
    """A fault that struck: `run_id` was in the phase, `at` on the database's clock (one machine)."""

    fault: str
    run_id: int
    at: float
    lasts_s: float = 0.0
    detected_s: float | None = None
    recovered_s: float | None = None


def during(name: str, phase: str, act: Act, lasts_s: float = 0.0, *, noticed: bool = False) -> Fault:
    """Wait for a run in the phase (see `World.await_run`) and strike; `act` says whether its target was there."""

    def strike(world: World) -> int | None:
        run_id = world.await_run(phase)
        world.struck_at = time.time()
        return run_id if run_id is not None and act(world, run_id) else None

    return Fault(name, strike, lasts_s, noticed)


def strike(world: World, fault: Fault) -> Hit | None:
    """Strike; None when there was nothing to hit."""
    run_id = None
    with contextlib.suppress(OSError):  # what another fault has taken away cannot be used for this one
        run_id = fault.strike(world)
    return None if run_id is None else Hit(fault.name, run_id, world.struck_at, fault.lasts_s)


def unavailable(fault: Fault, why: str) -> Fault:
    """The same fault on a machine that cannot have it."""
    return replace(fault, missing=why)
