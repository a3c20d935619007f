"""Fifty changes of status a second on a table of a thousand rows: how long the page's own work takes at a time."""

import json
import time
from pathlib import Path

import redis

from tests.bench.crowded import Crowded, crowded
from tests.bench.floor import instance
from tests.bench.report import Report

ROWS, A_SECOND, SECONDS = 1_000, 50, 5
STREAM = "tpm:events"
# The page's own rows, a thousand times: a page of the list has fifty. One is ticked, so that none goes away meanwhile.
GROW = """rows => {
  const body = document.querySelector('#tbl tbody');
  const own = [...body.children];
  let id = 1_000_000;
  while (body.children.length < rows) for (const row of own) {
    const copy = row.cloneNode(true);
    copy.dataset.id = String(id++);
    body.append(copy);
  }
  document.dispatchEvent(new CustomEvent('htmx:after:swap'));
  window.tasks = [];
  new PerformanceObserver(list => { for (const e of list.getEntries()) window.tasks.push(e.duration); }).observe({ type: 'longtask' });
  window.heard = 0;
  document.addEventListener('tpm:server', () => { window.heard += 1; });
  return body.children.length;
}"""


def rows(place: Path, report: Report, rounds: int) -> None:
    """A task longer than 50 ms is what browsers call long; 0 says that there was none."""
    report.heading("rows", f"{A_SECOND} changes a second on {ROWS:,} rows for {SECONDS} s: the longest task")
    longest = []
    with crowded(place) as on:
        on.fill(1, 60)
        for number in range(1, rounds + 1):
            tasks, heard, lag = _watched(on)
            longest.append(max(tasks, default=0.0))
            report.round("rows", number, f"{len(tasks)} long tasks, longest {longest[-1]:.0f} ms", f"{heard} changes heard", f"last one shown after {lag:.0f} ms")
    report.value(f"rows: {A_SECOND} changes a second on {ROWS:,} rows, longest task over 50 ms", longest, "ms", must=50)


def _watched(on: Crowded) -> tuple[list[float], int, float]:
    context = on.context()
    page = context.new_page()
    page.goto("/servers")
    page.locator("#live[data-s=live]").wait_for()
    page.evaluate("new Promise(done => setTimeout(done, 500))")
    page.locator("#tbl tbody input[type=checkbox]").first.check()
    count = page.evaluate(GROW, ROWS)
    page.evaluate("new Promise(done => setTimeout(() => { window.tasks = []; done(); }, 1500))")  # the growing itself
    client = redis.Redis.from_url(instance(on.product.stack)["redis_url"])
    ids = page.evaluate("[...document.querySelectorAll('#tbl tbody tr')].map(row => row.dataset.id)")
    began = time.monotonic()
    for n in range(A_SECOND * SECONDS):
        data = {"id": int(ids[n * 7 % count]), "status": ("running", "stopped", "paused")[n % 3], "cpu": n % 100, "mem": (n * 3) % 100}
        client.xadd(STREAM, {"e": "server", "a": "all", "d": json.dumps(data)})
        time.sleep(max(0.0, began + (n + 1) / A_SECOND - time.monotonic()))
    sent = time.time() * 1000
    last = ids[(A_SECOND * SECONDS - 1) * 7 % count]
    shown = page.evaluate(
        """async ([id, cpu]) => {
          const end = Date.now() + 10_000;
          const seen = () => document.querySelector(`#tbl tr[data-id="${id}"] [data-bar=cpu] .num`)?.textContent;
          while (seen() !== `${cpu}%`) {
            if (Date.now() > end) throw new Error(`it was never shown, but ${seen()}`);
            await new Promise(requestAnimationFrame);
          }
          return Date.now();
        }""",
        [last, (A_SECOND * SECONDS - 1) % 100],
    )
    tasks, heard = page.evaluate("[window.tasks, window.heard]")
    client.close()
    context.close()
    return tasks, heard, max(0.0, shown - sent)
