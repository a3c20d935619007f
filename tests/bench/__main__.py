"""`python -m tests.bench [FIGURE …]`: measure, print every round, print a table. It asserts nothing about time.

The exit code is 1 only when something could not be measured.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import approval, log_lines, log_page, migration, pages, posts, recovery, rest, rows, runs, streams, sweeper, workers
from tests.bench.report import Report
from tests.bench.runs import Ground
from tests.bench.stats import machine

# Those of one group share a started product.
RUNS: dict[str, Callable[[Ground], None]] = {
    "one": runs.one, "one-instant": runs.one_instant, "one-agent": runs.one_agent, "ten": runs.ten, "batch": runs.batch, "checks": runs.checks,
    "approval": approval.approval, "log": log_lines.log_lines,
}  # fmt: skip
ALONE: dict[str, Callable[[Path, Report, int], None]] = {"posts": posts.posts, "posts-many": posts.posts_many, "streams": streams.streams, "rest": rest.rest, "recovery": recovery.recovery, "sweeper": sweeper.sweeper, "pages": pages.pages, "rows": rows.rows, "log-page": log_page.log_page, "migration": migration.migration, "workers": workers.workers}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of the product beside by hand and bare parts.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of: {', '.join([*RUNS, *ALONE])} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each figure (default: 5)")
    parser.add_argument("--cold", action="store_true", help="also start from a fresh clone without caches: takes minutes and downloads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    found = parser.parse_args(given)
    unknown = set(found.figures) - {*RUNS, *ALONE}
    if unknown or found.rounds < 1:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}" if unknown else "--rounds must be 1 or more")
    return found


def main() -> int:
    """Measure; 1 when a figure could not be."""
    args = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):  # everything that was started is stopped, also behind an `&`
        signal.signal(number, signal.default_int_handler)
    wanted = args.figures or ([] if args.cold else [*RUNS, *ALONE])
    report, began = Report(), time.monotonic()
    print(", ".join(f"{name} {value}" for name, value in machine().items()), f"; {report.began:%Y-%m-%d %H:%M} UTC", flush=True)
    try:
        _measure(report, wanted, args.rounds, cold=args.cold)
    except KeyboardInterrupt:
        report.failures["all"] = "interrupted"
    print(f"\n{report.table()}\n\n{time.monotonic() - began:.0f} s", flush=True)
    for name, reason in report.failures.items():
        print(f"not measured: {name}: {reason}", file=sys.stderr)
    if args.json:
        report.write_json(args.json)
    return 1 if report.failures else 0


def _measure(report: Report, wanted: Sequence[str], rounds: int, *, cold: bool) -> None:
    shared = [name for name in RUNS if name in wanted]
    if shared:
        _guarded(report, ", ".join(shared), lambda place: _share(report, place, shared, rounds))
    for name in [name for name in ALONE if name in wanted]:
        _guarded(report, name, lambda place, name=name: ALONE[name](place, report, rounds))  # type: ignore[misc]  # bound now
    if cold:
        _guarded(report, "cold", lambda place: rest.cold(place, report))


def _share(report: Report, place: Path, names: Sequence[str], rounds: int) -> None:
    with runs.ground(place, report, rounds) as on:
        for name in names:
            _caught(report, name, lambda name=name: RUNS[name](on))  # type: ignore[misc]  # bound now


def _guarded(report: Report, name: str, work: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="tpm-bench-", ignore_cleanup_errors=True) as place:
        _caught(report, name, lambda: work(Path(place)))


def _caught(report: Report, name: str, work: Callable[[], None]) -> None:
    """Do the work; what goes wrong is noted, and the other figures are still measured."""
    try:
        work()
    except Exception as exc:  # noqa: BLE001 - whatever it is: this figure was not measured
        traceback.print_exc()
        report.failures[name] = f"{type(exc).__name__}: {str(exc)[:300]}"


if __name__ == "__main__":
    sys.exit(main())
