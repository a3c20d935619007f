"""A log that grows to fifty thousand lines at two thousand a second, while somebody follows it: how long the page's own work takes at a time."""

import json
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import redis

from tests.bench.crowded import Crowded, crowded
from tests.bench.floor import instance
from tests.bench.report import Report
from tests.bench.rows import STREAM

LINES, A_SECOND, PIECE = 50_000, 2_000, 100
WATCH = """() => {
  window.tasks = [];
  new PerformanceObserver(list => { for (const e of list.getEntries()) window.tasks.push(e.duration); }).observe({ type: 'longtask' });
}"""


def log_page(place: Path, report: Report, rounds: int) -> None:
    """A task longer than 50 ms is what browsers call long; 0 says that there was none."""
    report.heading("log-page", f"{LINES:,} lines at {A_SECOND:,} a second, followed in a browser: the longest task")
    longest, behind = [], []
    with crowded(place) as on:
        [name] = on.product.api.made("bench-log")
        run = int(on.product.api.get(f"/api/servers/{name}")["run_id"])
        for number in range(1, rounds + 1):
            tasks, lag = _watched(on, run)
            longest.append(max(tasks, default=0.0))
            behind.append(lag)
            report.round("log-page", number, f"{len(tasks)} long tasks, longest {longest[-1]:.0f} ms", f"last line shown after {lag:.0f} ms")
    report.value(f"log-page: {LINES:,} lines at {A_SECOND:,} a second, longest task over 50 ms", longest, "ms", must=50)
    report.value("log-page: the last line written → shown", behind, "ms")


def _watched(on: Crowded, run: int) -> tuple[list[float], float]:
    url = instance(on.product.stack)["database_url"].replace("+psycopg2", "")
    client = redis.Redis.from_url(instance(on.product.stack)["redis_url"])
    on.product.stack.sql_write(f"delete from run_log where run_id = {run}; update run set log_bytes = 0, log_lines = 0 where id = {run}")  # noqa: S608 - our own number
    context = on.context()
    page = context.new_page()
    page.goto(f"/runs/{run}")
    page.locator("#live[data-s=live]").wait_for()
    page.locator("#log-f").check()
    page.evaluate(WATCH)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        _write(connection.cursor(), client, run)
    sent = time.time() * 1000
    shown = page.evaluate(
        """async wanted => {
          const end = Date.now() + 20_000;
          while (!document.querySelector('#log-pad')?.textContent.includes(wanted)) {
            if (Date.now() > end) throw new Error('the last line was never shown');
            await new Promise(requestAnimationFrame);
          }
          return Date.now();
        }""",
        f"line {LINES} ",
    )
    tasks = page.evaluate("window.tasks")
    client.close()
    context.close()
    return tasks, max(0.0, shown - sent)


def _write(cursor: "psycopg2.extensions.cursor", client: "redis.Redis", run: int) -> None:
    offset, began = 0, time.monotonic()
    for first in range(1, LINES + 1, PIECE):
        text = "".join(f"12:00:00  bench-{n % 50}: line {n} of a server that is still being created [{n % 60}s elapsed]\n" for n in range(first, first + PIECE))
        length = len(text.encode())
        cursor.execute(
            "insert into run_log (run_id, fence, phase, start, raw_length, log_offset, length, first_line, text) values (%s, 1, 'bench', %s, %s, %s, %s, %s, %s)",
            (run, offset, length, offset, length, first, text),
        )
        cursor.execute("update run set log_bytes = log_bytes + %s, log_lines = log_lines + %s where id = %s", (length, PIECE, run))
        data = {"run": run, "offset": offset, "bytes": length, "lines": first + PIECE - 1}
        client.xadd(STREAM, {"e": "log", "a": "all", "d": json.dumps(data)})
        offset += length
        time.sleep(max(0.0, began + (first + PIECE - 1) / A_SECOND - time.monotonic()))
