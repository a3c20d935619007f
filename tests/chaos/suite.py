"""Rounds of requests and faults, and the table of what came of them."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.stats import percentile
from tests.chaos import driver, faults, invariants
from tests.chaos.faults import FAULTS, Fault, Hit
from tests.chaos.settle import measure, settle
from tests.chaos.world import World

ACTIONS, STRIKES = (2, 5), (1, 3)


@dataclass
class Report:
    """What a suite found."""

    seed: int
    hits: list[Hit] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self) -> str:
        """Return fault × count × detection × recovery, and the violations."""
        by_fault: dict[str, list[Hit]] = defaultdict(list)
        for hit in self.hits:
            by_fault[hit.fault].append(hit)
        lines = [f"{'fault':<48}{'hits':>5}{'noticed p50 / max':>20}{'recovered p50 / max':>22}"]
        for fault in FAULTS:
            found = by_fault.get(fault.name, [])
            lines.append(f"{fault.name:<48}{len(found):>5}{_span([h.detected_s for h in found]):>20}{_span([h.recovered_s for h in found]):>22}")
        lines.append(f"\nseed {self.seed}: {len(self.hits)} faults, {len(self.idle)} that met nothing, {len(self.violations)} violations, {self.seconds:.0f} s")
        return "\n".join([*lines, *(f"  VIOLATION {v}" for v in self.violations)])


def _span(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{percentile(known, 0.5):.1f} / {max(known):.1f} s" if known else "–"


def run(world: World, rounds: int, seed: int, chosen: Sequence[Fault] = FAULTS) -> Report:
    """Do so many rounds; a violation ends none of them."""
    report, began = Report(seed), time.monotonic()
    world.hire()
    order: list[Fault] = []
    for number in range(1, rounds + 1):
        said: list[str] = []
        hits: list[Hit] = []
        for _ in range(world.rng.randint(*STRIKES)):
            for _ in range(world.rng.randint(*ACTIONS)):
                said.append(driver.act(world))
            # Every fault has its turn before one comes again.
            order = order or world.rng.sample(list(chosen), len(chosen))
            fault = order.pop()
            hit = faults.strike(world, fault)
            said.append(f"{'STRUCK' if hit else 'met nothing'}: {fault.name}" + (f" (run {hit.run_id})" if hit else ""))
            if hit:
                hits.append(hit)
            else:
                report.idle.append(fault.name)
        found = settle(world) or invariants.violations(world)
        measure(world, hits)
        report.hits += hits
        report.violations += [f"round {number}: {v}" for v in found]
        print(f"round {number}: {'; '.join(h.fault for h in hits) or 'no fault'}: {'ok' if not found else 'VIOLATED'}", flush=True)
        if found:
            print("\n".join([*(f"    {line}" for line in said), *(f"    VIOLATION {v}" for v in found)]), flush=True)
            for hit in hits:
                print(f"    run {hit.run_id}, struck at {time.strftime('%H:%M:%S', time.gmtime(hit.at))}\n{invariants.story(world, hit.run_id)}", flush=True)
    report.seconds = time.monotonic() - began
    return report
