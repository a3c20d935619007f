"""What the bench prints: a line a round, and one table at the end. It judges nothing.

    report.round("one", 1, "product 1.52 s", "by hand 1.71 s")
    report.ratio("one server", ours, theirs, "s", goal=1.05, must=1.2)
    report.value("memory", values, "MB", goal=400, must=600)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.stats import load, machine, median

HEAD = ("figure", "median", "goal", "must", "ours / theirs")


@dataclass(frozen=True)
class Row:
    """One line of the table. `theirs` is empty for a figure that is compared with nothing measured here."""

    figure: str
    median: float
    unit: str
    goal: float | None
    must: float | None
    ours: Sequence[float]
    theirs: Sequence[float]
    measured_in: str

    def cells(self) -> tuple[str, ...]:
        sides = f"{_number(median(self.ours))} / {_number(median(self.theirs))} {self.measured_in}" if self.theirs else ""
        limits = tuple("" if limit is None else f"≤ {limit:g}" for limit in (self.goal, self.must))
        return (self.figure, f"{_number(self.median)} {self.unit}".strip(), *limits, sides)


@dataclass
class Report:
    """Collects what the figures say."""

    rows: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def heading(self, name: str, text: str) -> None:
        """Announce a figure."""
        print(f"\n{name}: {text} (load {load()})", flush=True)

    def round(self, name: str, number: int, *parts: str) -> None:
        """Print one round."""
        print(f"  {name} round {number}: {', '.join(parts)}", flush=True)

    def ratio(
        self, figure: str, ours: Sequence[float], theirs: Sequence[float], measured_in: str, goal: float | None = None, must: float | None = None
    ) -> None:
        """Add the ratio of two medians."""
        self.rows.append(Row(figure, median(ours) / median(theirs), "", goal, must, tuple(ours), tuple(theirs), measured_in))

    def value(self, figure: str, values: Sequence[float], unit: str, goal: float | None = None, must: float | None = None) -> None:
        """Add the median of what the rounds gave."""
        self.rows.append(Row(figure, median(values), unit, goal, must, tuple(values), (), unit))

    def table(self) -> str:
        """Return all lines, aligned."""
        lines = [HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)

    def write_json(self, path: Path) -> None:
        """Write everything, the rounds included."""
        content: dict[str, Any] = {
            "began": self.began.isoformat(), "machine": machine(), "rows": [asdict(row) for row in self.rows], "failures": self.failures,
        }  # fmt: skip
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
