"""The table of what was done to the product and what came of it, for one run of the suite or for many."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.stats import percentile
from tests.chaos.fault import Fault, Hit


@dataclass
class Report:
    """What was found: hits, faults that met nothing, violations; of one seed or of several."""

    seeds: list[int]
    rounds: int = 0
    hits: list[Hit] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self, faults: Sequence[Fault]) -> str:
        """Return fault × count × detection × recovery, and the violations."""
        told = {fault.name for fault in faults if fault.noticed}
        by_fault: dict[str, list[Hit]] = defaultdict(list)
        for hit in self.hits:
            by_fault[hit.fault].append(hit)
        names = [fault.name for fault in faults] + sorted(set(by_fault) - {fault.name for fault in faults})
        missing, idle = {fault.name: fault.missing for fault in faults if fault.missing}, Counter(self.idle)
        lines = [f"{'fault':<66}{'hits':>5}{'idle':>5}{'noticed p50 / max':>19}{'recovered p50 / max':>21}"]
        for name in names:
            found = by_fault.get(name, [])
            if name in missing and not found:
                lines.append(f"{name:<66}  not available: {missing[name]}")
                continue
            noticed = [h.detected_s for h in found if name in told]
            recovered = [h.recovered_s for h in found]
            lines.append(f"{name:<66}{len(found):>5}{idle[name]:>5}{_span(noticed):>19}{_span(recovered):>21}")
        return "\n".join([*lines, "", *self._totals(told), *(f"  VIOLATION {v}" for v in self.violations)])

    def _totals(self, told: set[str]) -> list[str]:
        detected = [h.detected_s for h in self.hits if h.detected_s is not None and h.fault in told]
        recovered = [h.recovered_s for h in self.hits if h.recovered_s is not None]
        since_its_end = [max(h.recovered_s - h.lasts_s, 0.0) for h in self.hits if h.recovered_s is not None]
        seeds = ", ".join(map(str, self.seeds))
        return [
            f"noticed: p95 {_p95(detected)} ({len(detected)} hits)",
            f"recovered: p95 {_p95(recovered)} after the fault began, {_p95(since_its_end)} after it was over ({len(recovered)} hits)",
            f"seed {seeds}: {self.rounds} rounds, {len(self.hits)} faults, {len(self.idle)} that met nothing, {len(self.violations)} violations, {self.seconds:.0f} s",
        ]


def _span(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{percentile(known, 0.5):.1f} / {max(known):.1f} s" if known else "–"


def _p95(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.95):.1f} s" if values else "–"


# ---------------------------------------------------------------- figures of several seeds
def write(path: Path, kind: str, **fields: object) -> None:
    """Add one line of JSON: a hit, an idle fault, a violation, or a whole round."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps({"kind": kind, **fields}) + "\n")


def write_round(path: Path | None, seed: int, number: int, part: Report) -> None:
    """Add what one round brought."""
    if path is None:
        return
    for hit in part.hits:
        write(path, "hit", seed=seed, round=number, **asdict(hit))
    for name in part.idle:
        write(path, "idle", seed=seed, round=number, fault=name)
    for text in part.violations:
        write(path, "violation", seed=seed, round=number, text=text)
    write(path, "round", seed=seed, round=number, seconds=part.seconds)


def summed(paths: Sequence[Path]) -> Report:
    """Return one report over what several runs of the suite wrote."""
    report = Report([])
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            kind, seed, _round = row.pop("kind"), row.pop("seed"), row.pop("round")
            if seed not in report.seeds:
                report.seeds.append(seed)
            if kind == "hit":
                report.hits.append(Hit(**row))
            elif kind == "idle":
                report.idle.append(row["fault"])
            elif kind == "violation":
                report.violations.append(f"seed {seed}, {row['text']}")
            else:
                report.rounds += 1
                report.seconds += row["seconds"]
    return report
