"""Rounds of requests and faults."""

import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import driver, fault, invariants
from tests.chaos.fault import Fault
from tests.chaos.faults import FAULTS
from tests.chaos.report import Report, write_round
from tests.chaos.settle import measure, settle
from tests.chaos.world import World

ACTIONS, STRIKES, MEDDLING = (2, 5), (1, 4), 0.2


def run(world: World, rounds: int, seed: int, chosen: Sequence[Fault] = FAULTS, json: Path | None = None) -> Report:
    """Do so many rounds; a violation ends none of them."""
    total = Report([seed])
    order: list[Fault] = []
    world.hire()
    for number in range(1, rounds + 1):
        # Every fault has its turn before one comes again.
        turn: list[Fault] = []
        for _ in range(world.rng.randint(*STRIKES)):
            order = order or world.rng.sample(list(chosen), len(chosen))
            turn.append(order.pop())
        part = one_round(world, number, seed, [f for f in turn if not f.missing])
        write_round(json, seed, number, part)
        total.rounds += 1
        total.seconds += part.seconds
        total.hits += part.hits
        total.idle += part.idle
        total.violations += part.violations
    return total


def one_round(world: World, number: int, seed: int, turn: Sequence[Fault]) -> Report:
    """Requests and faults, then quiet, then the checks."""
    part, began = Report([seed], 1), time.monotonic()
    said: list[str] = []
    for wanted in turn:
        for _ in range(world.rng.randint(*ACTIONS)):
            said.append(driver.act(world))
        hit = fault.strike(world, wanted)
        said.append(f"{'STRUCK' if hit else 'met nothing'}: {wanted.name}" + (f" (run {hit.run_id})" if hit else ""))
        if hit is None:
            part.idle.append(wanted.name)
            continue
        part.hits.append(hit)
        if world.rng.random() < MEDDLING:
            said.append(driver.meddle(world, hit.run_id))
    former = world.judged
    unsettled = settle(world)
    # What stays untrue is told of once.
    found = [v for v in [*world.complaints, *(unsettled or invariants.violations(world))] if v not in world.told]
    world.told.update(found)
    world.complaints.clear()
    measure(world, part.hits)
    part.violations, part.seconds = [f"round {number}: {v}" for v in found], time.monotonic() - began
    ended = "".join(f", {count} {what}" for what, count in world.sql(f"select coalesce(error->>'code', state), count(*) from run where id > {former} group by 1 order by 1"))
    print(f"round {number}: {'; '.join(h.fault for h in part.hits) or 'no fault'}: {'ok' if not found else 'VIOLATED'} ({part.seconds:.0f} s{ended})", flush=True)
    if found:
        print("\n".join([*(f"    {line}" for line in said), *(f"    VIOLATION {v}" for v in found)]), flush=True)
        for hit in part.hits:
            print(f"    run {hit.run_id}, struck at {time.strftime('%H:%M:%S', time.gmtime(hit.at))}\n{invariants.story(world, hit.run_id)}", flush=True)
    return part
