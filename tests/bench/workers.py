"""What a worker needs for so many runs at once: memory of all its processes, processor time of a run, runs a minute.

The clones take long, so that all of them are under way together; sizes workers on other machines (docs/scaling.md).
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.product import PLAIN, Product, product
from tests.bench.report import Report
from tests.bench.rest import pss_mb
from tests.bench.stats import median
from tests.stack import children

AT_ONCE = (1, 5, 10)
CLONE_S = 8.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def workers(place: Path, report: Report, rounds: int) -> None:
    """Run 1, 5 and 10 creates at once and look at the worker's processes meanwhile."""
    report.heading("workers", f"runs of one server at once, clones of {CLONE_S:.0f} s: the Terraform worker with its runners, Terraforms and providers")
    with product(place) as one:
        one.make_plain_template()
        one.pace(CLONE_S)
        pid = int(one.info["pids"]["worker"])
        rest_mb = sum(map(pss_mb, _family(pid)))
        report.value("workers: the Terraform worker at rest (PSS)", [rest_mb], "MB")
        for count in AT_ONCE:
            found = [_together(one, pid, count) for _ in range(rounds)]
            for number, (mb, took_s, cpu_s) in enumerate(found, 1):
                report.round("workers", number, f"{count} at once: {mb:.0f} MB at most", f"{took_s:.1f} s until the last has ended", f"{cpu_s / count:.2f} CPU-s a run")
            report.value(f"workers: {count} at once, memory a run above rest (PSS, at most)", [(mb - rest_mb) / count for mb, _, _ in found], "MB")
            report.value(f"workers: {count} at once, processor time a run", [cpu_s / count for _, _, cpu_s in found], "s")
            report.value(f"workers: {count} at once, runs a minute", [60 * count / median([took_s for _, took_s, _ in found])], "")


def _together(one: Product, pid: int, count: int) -> tuple[float, float, float]:
    """Return the most memory in MB, the seconds until the last has ended, and the processor seconds of all."""
    began = time.monotonic()
    before = {p: _cpu_s(p) for p in _family(pid)}
    ids = [int(one.api.create(one.new_name(), PLAIN)["run_id"]) for _ in range(count)]
    most, used = 0.0, dict[int, float]()
    while not _over(one, ids):
        family = list(_family(pid))
        most = max(most, sum(map(pss_mb, family)))
        used |= {p: max(used.get(p, 0.0), _cpu_s(p) - before.get(p, 0.0)) for p in family}
    return most, time.monotonic() - began, sum(used.values())


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in children(pid):
        yield from _family(child)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _over(one: Product, ids: list[int]) -> bool:
    wanted = ", ".join(map(str, ids))
    return not one.stack.sql(f"select 1 from run where id in ({wanted}) and finished_at is null limit 1")  # noqa: S608 - numbers of ours
