"""The end of a round: faults are taken back, everything is left alone, and nothing may be left undone."""

import time
from collections.abc import Sequence

from tests.chaos.driver import ask
from tests.chaos.fault import Hit
from tests.chaos.world import OPEN, World
from tests.stack import eventually

LIMIT_S = 240.0
POLL_S = 0.1
# What a run's timeline says when the protocol found out: a dead runner, a dead Terraform, an outage.
NOTICED = ("runner_lost", "killed_hung_runner", "took_over", "again", "cancel_requested")


def settle(world: World) -> list[str]:
    """Wait until no run and no action is open, deciding on plans that wait; returns what does not come to an end."""
    world.take_back()
    eventually(lambda: _taken_back(world), 60, "the simulator answers and every fault is taken back")
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        for (run_id,) in world.sql("select id from run where state = 'planned' order by id"):
            verb = world.rng.choice(("apply", "apply", "discard"))
            ask(world, world.people["admin"], "POST", f"/api/runs/{run_id}/{verb}", {})
        open_now = world.sql(
            f"select 'run ' || id || ' ' || state || coalesce(' waits for ' || (waiting_for->>'code'), '') from run where state in {OPEN} "
            "union all select 'action ' || id || ' ' || state from action where finished_at is null"
        )
        if not open_now and not world.sql("select 1 from outbox limit 1"):
            return []
        time.sleep(POLL_S)
    return [f"not settled after {LIMIT_S:.0f} s: {what}" for (what,) in open_now] or ["the outbox is not empty"]


def _taken_back(world: World) -> bool:
    try:
        world.stack.control("reset")
    except OSError:
        return False
    return True


def measure(world: World, hits: Sequence[Hit]) -> None:
    """Note when each fault was noticed by the run's timeline, and when the run had ended."""
    for hit in hits:
        names = ", ".join(f"'{name}'" for name in NOTICED)
        rows = world.sql(
            f"select extract(epoch from min(at)) from run_event where run_id = {hit.run_id} and name in ({names}) and at > to_timestamp({hit.at})"
        )
        if rows[0][0] is not None:
            hit.detected_s = float(rows[0][0]) - hit.at
        rows = world.sql(f"select extract(epoch from finished_at) from run where id = {hit.run_id} and finished_at > to_timestamp({hit.at})")
        if rows and rows[0][0] is not None:
            hit.recovered_s = float(rows[0][0]) - hit.at
