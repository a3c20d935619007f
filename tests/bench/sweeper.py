"""What a tick of the sweeper costs when much has happened: 100,000 ended runs and 1,000 open ones.

The rows are written straight into the database; the ticks are the product's own code, in a process of its own, which
takes turns with the instance's sweeper.
"""

import subprocess
import sys
from pathlib import Path

from tests.bench.product import Product, product
from tests.bench.report import Report
from tests.bench.stats import median, percentile
from tests.stack import ROOT

ENDED, OPEN = 100_000, 1_000
TICKS = 40

_FILL = f"""
insert into workspace (name, project_id, cluster_id, state_ever)
select 'bench-' || n, (select min(id) from project), (select min(id) from cluster), true from generate_series(1, {OPEN // 2}) n;
insert into run (task_id, workspace_id, created_by_id, kind, state, apply_mode, intent, targets, names, created_at, started_at, apply_started_at, planned_at, finished_at)
select gen_random_uuid(), w.id, (select min(id) from "user"), 'change', 'applied', 'auto', '{{}}', '["x"]', '["x"]',
       now() - n * interval '1 minute', now() - n * interval '1 minute', now() - n * interval '1 minute', now() - n * interval '1 minute', now() - n * interval '1 minute'
from generate_series(1, {ENDED // (OPEN // 2)}) n, workspace w where w.name like 'bench-%';
insert into run (task_id, workspace_id, created_by_id, kind, state, apply_mode, intent, targets, names, planned_at)
select gen_random_uuid(), w.id, (select min(id) from "user"), 'change', 'planned', 'confirm', '{{}}', '["x"]', '["x"]', now() from workspace w where w.name like 'bench-%';
insert into run (task_id, workspace_id, created_by_id, kind, state, apply_mode, intent, targets, names, waiting_for)
select gen_random_uuid(), w.id, (select min(id) from "user"), 'change', 'pending', 'auto', '{{}}', '["x"]', '["x"]', '{{"code": "waiting_for_run", "args": {{}}}}' from workspace w where w.name like 'bench-%';
analyze run; analyze workspace;
"""  # noqa: S608 - numbers of ours


def sweeper(place: Path, report: Report, rounds: int) -> None:
    """Ticks before and after."""
    report.heading("sweeper", f"a tick with {ENDED:,} ended and {OPEN:,} open runs, beside one with none")
    with product(place) as one:
        bare = _ticks(one, rounds)
        one.stack.sql_write(_FILL)
        full = _ticks(one, rounds)
        for number, (empty, filled) in enumerate(zip(bare, full, strict=True), 1):
            report.round("sweeper", number, f"with them p50 {median(filled) * 1000:.1f} ms, p99 {percentile(filled, 0.99) * 1000:.1f} ms", f"empty p50 {median(empty) * 1000:.1f} ms")
        every = [t for values in full for t in values]
        report.ratio(f"sweeper: a tick with {ENDED:,} ended and {OPEN:,} open runs ÷ with none", [median(v) for v in full], [median(v) for v in bare], "s")
        report.value("sweeper: such a tick, p99", [percentile(every, 0.99)], "s")


def _ticks(one: Product, rounds: int) -> list[list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ticks", str(rounds), str(TICKS)], cwd=ROOT, env=one.stack.env, capture_output=True, text=True, timeout=600, check=True
    )
    return [[float(t) for t in line.split()] for line in done.stdout.splitlines()]
