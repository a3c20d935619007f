"""What a page costs: until something is seen, what is loaded for it, and the list of ten thousand servers."""

import json
from pathlib import Path

from tests.bench.crowded import SERVERS, Crowded, crowded
from tests.bench.report import Report
from tests.bench.stats import median, percentile
from tests.stack import ROOT

FEW = 100
PAGES = ("/", "/servers", "/servers/new", "/runs", "/templates", "/networks", "/nodes", "/notifications", "/account", "/admin/audit")
LISTS = 60
# What is loaded by pages with charts only.
CHARTS = ("charts",)
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"
# From the last key to the frame in which the rows are there.
TYPE = """async text => {
  const field = document.querySelector('#q');
  const table = () => document.querySelector('#tbl');
  const before = table();
  field.focus();
  field.value = text;
  const began = performance.now();
  let asked = 0;
  document.addEventListener('htmx:before:request', () => { asked = performance.now(); }, { once: true });
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  while (table() === before) {
    if (performance.now() - began > 10_000) throw new Error(`nothing was shown for ${text}`);
    await new Promise(requestAnimationFrame);
  }
  await new Promise(requestAnimationFrame);
  const shown = performance.now();
  return [shown - began, shown - asked, document.querySelectorAll('#tbl tr[data-id]').length];
}"""


def pages(place: Path, report: Report, rounds: int) -> None:
    """A warm browser; the list with a hundred servers and with ten thousand."""
    report.heading("pages", f"first contentful paint, bytes, the list of {FEW} and of {SERVERS:,} servers, search in it")
    with crowded(place) as on:
        on.fill(1, FEW)
        few = [percentile(on.seconds("/servers", LISTS), 0.5) * 1000 for _ in range(rounds)]
        on.fill(FEW + 1, SERVERS)
        many, painted, typed, asked = [], [], [], []
        for number in range(1, rounds + 1):
            times = on.seconds("/servers", LISTS)
            many.append(percentile(times, 0.5) * 1000)
            paint = _painted(on)
            painted.append(max(paint.values()))
            found = _searched(on, number)
            typed.append(percentile([t for t, _ in found], 0.5))
            asked.append(percentile([a for _, a in found], 0.5))
            worst = max(paint, key=lambda path: paint[path])
            report.round(
                "pages", number, f"list p50 {many[-1]:.1f} p99 {percentile(times, 0.99) * 1000:.1f} ms", f"paint p50 {median(paint.values()):.0f}, slowest {worst} {painted[-1]:.0f} ms",
                f"search p50 {typed[-1]:.0f} ms after the last key, {asked[-1]:.0f} ms after it asked",
            )  # fmt: skip
    report.value("pages: first contentful paint, warm, slowest of the main pages", painted, "ms", must=500)
    report.value("pages: JS and CSS, gzipped, without charts", [_assets()], "kB", must=150)
    report.value(f"pages: list of 50 of {SERVERS:,} servers, p50", many, "ms", must=60)
    report.ratio(f"pages: … ÷ of {FEW} servers", many, few, "ms", must=1.2)
    report.value(f"pages: search in {SERVERS:,} servers, last key → rows shown, p50", typed, "ms", must=100)
    report.value("pages: … from the request on", asked, "ms")


def _painted(on: Crowded) -> dict[str, float]:
    """Return when something was seen of each page, in a browser that has its files."""
    context = on.context()
    page = context.new_page()
    found = {}
    page.goto("/servers")
    for path in PAGES:
        page.goto(path)
        page.goto(path)
        page.wait_for_function(f"() => ({PAINTED}) > 0")
        found[path] = float(page.evaluate(PAINTED))
    context.close()
    return found


def _searched(on: Crowded, number: int) -> list[tuple[float, float]]:
    """Type parts of names, addresses and tags; (after the last key, after the request was made), ms."""
    context = on.context()
    page = context.new_page()
    page.goto("/servers")
    page.locator("#live[data-s=live]").wait_for()
    found = []
    for text in (f"bench-0{number}", f"{number}77", "team-7", f"10.0.{number}.", "no-such-server", f"bench-{number}", "09", "prod"):
        shown, since, _rows = page.evaluate(TYPE, text)
        found.append((shown, since))
    context.close()
    return found


def _assets() -> float:
    """Return kB (1,000 bytes) of all scripts and style sheets as they are sent to whoever takes gzip."""
    folder = ROOT / "app" / "static" / "dist"
    names = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    charts = {name for name in names.values() if name.startswith(CHARTS)}
    files = [f for f in folder.glob("*.gz") if f.name.endswith((".js.gz", ".css.gz"))]
    return sum(f.stat().st_size for f in files if not f.name.startswith(CHARTS) and f.name.removesuffix(".gz") not in charts) / 1000
