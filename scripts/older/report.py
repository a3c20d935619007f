"""What happens to each row that cannot be carried over as it was: lines for the person who moves over, never a failure."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

SHOWN = 20


class Refused(Exception):
    """The input cannot be used; the text is one sentence for the person at the terminal."""


@dataclass(frozen=True)
class Line:
    """One thing about one row: `row` is its id in the older database, `name` what people call it."""

    table: str
    row: int | None
    name: str
    what: str

    def __str__(self) -> str:
        where = self.table if self.row is None else f"{self.table} {self.row}"
        return f"{where} ({self.name}): {self.what}" if self.name else f"{where}: {self.what}"

    @property
    def json(self) -> dict[str, Any]:
        """The line as it stands in the backup."""
        return asdict(self)


def show(lines: Iterable[Line], place: str) -> None:
    """Print how many there are of each table and the first of them; `place` says where all of them are."""
    every = list(lines)
    if not every:
        return
    counted = ", ".join(f"{table} {number}" for table, number in sorted(Counter(line.table for line in every).items()))
    print(f"{len(every)} lines about rows that are not carried over as they were ({counted}):")
    for line in every[:SHOWN]:
        print(f"  {line}")
    if len(every) > SHOWN:
        print(f"  … and {len(every) - SHOWN} more{place}")


class Progress:
    """A bar on a terminal; elsewhere nothing, so that logs stay readable."""

    WIDTH = 30

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done, self.drawn = label, max(total, 1), 0, -1
        self.seen = sys.stderr.isatty()

    def step(self, count: int = 1) -> None:
        """Note that so many more are done."""
        self.done += count
        cells = min(self.WIDTH, self.WIDTH * self.done // self.total)
        if self.seen and cells != self.drawn:
            self.drawn = cells
            bar = "█" * cells + "░" * (self.WIDTH - cells)
            print(f"\r  {self.label:<18}{bar} {100 * min(self.done, self.total) // self.total:3} %", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self.seen and self.drawn >= 0:
            print(file=sys.stderr)
