"""From a line that Terraform writes to the moment a client of the run's log stream has it.

Every line of `-json` output says when it was written. The clients' frames carry the byte offset behind their text, so
a line is there with the first frame whose offset is not below the line's own.
"""

import json
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from app.adapters.terraform import events
from tests.bench.product import ONE_SECOND, PLAIN, connection
from tests.bench.runs import FIFTY, Ground
from tests.bench.stats import percentile

QUIET = 30
POLL_S = 0.005


@dataclass
class _Frames:
    """What one client of a log stream got: (time, offset behind it), and the texts."""

    at: list[tuple[float, int]] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)


def log_lines(on: Ground) -> None:
    """Once one server at a time, so that the machine is nearly idle, and once a batch that keeps it busy."""
    on.report.heading("log", f"Terraform's line → log stream: {QUIET} servers one by one, and {FIFTY} ten at a time")
    quiet: list[list[float]] = []
    busy: list[list[float]] = []
    for number in range(1, on.rounds + 1):
        _parallelism(on, 1)
        on.product.pace(0)
        quiet.append(_latencies(on, QUIET))
        _parallelism(on, 10)
        on.product.pace(ONE_SECOND)
        busy.append(_latencies(on, FIFTY))
        on.report.round("log", number, f"one by one {_said(quiet[-1])}", f"busy {_said(busy[-1])}")
    on.report.value("log: line written → client, p50", [percentile(r, 0.5) for r in quiet], "ms", 5, 20)
    on.report.value("log: line written → client, p99", [percentile(r, 0.99) for r in quiet], "ms", 50, 100)
    on.report.value("log: the same in a busy batch, p50", [percentile(r, 0.5) for r in busy], "ms")
    on.report.value("log: the same in a busy batch, p99", [percentile(r, 0.99) for r in busy], "ms")


def _said(values: list[float]) -> str:
    return f"p50 {percentile(values, 0.5):.1f} p99 {percentile(values, 0.99):.1f} ms of {len(values)} lines"


def _parallelism(on: Ground, number: int) -> None:
    answer = on.product.api.call("PATCH", "/api/settings", {"parallelism": number})
    if answer.status != 200:
        raise RuntimeError(f"settings: {answer.status} {answer.text[:300]}")


def _latencies(on: Ground, servers: int) -> list[float]:
    """Make a batch and return what each line of its log took, in ms."""
    asked = on.product.api.create(on.product.new_name(), PLAIN, count=servers)
    run_id, frames, kept = asked["run_id"], _Frames(), on.hand.place / f"log-{asked['run_id']}"
    kept.mkdir()
    over = threading.Event()
    keeper = threading.Thread(target=_keep_outputs, args=(on.product.data_dir / "runs" / str(run_id), kept, over))
    keeper.start()
    try:
        _follow(on, run_id, frames)
    finally:
        over.set()
        keeper.join()
    on.product.check_running(asked["servers"])
    on.product.remove(asked["servers"])
    return _matched(kept, frames)


def _keep_outputs(folder: Path, kept: Path, over: threading.Event) -> None:
    """Give Terraform's output files a second name: the run removes its directory at the end."""
    while not over.is_set():
        for out in folder.glob("*.out"):
            copy = kept / out.name
            if not copy.exists():
                try:
                    os.link(out, copy)
                except FileNotFoundError:
                    continue
        over.wait(POLL_S)


def _follow(on: Ground, run_id: int, frames: _Frames) -> None:
    with connection(on.product.api.base) as http:
        http.request("GET", f"/api/runs/{run_id}/log/stream", headers={"Authorization": f"Bearer {on.product.api.token}"})
        answer = http.getresponse()
        offset, type_, lines = 0, "", []
        while line := answer.readline():
            at = time.time()
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                offset = int(value)
            elif name == "event":
                type_ = value
            elif name == "data":
                lines.append(value)
            elif not line.strip() and type_:
                if type_ == "end":
                    return
                if type_ == "log":
                    frames.at.append((at, offset))
                    frames.text += "\n".join(lines).encode()
                type_, lines = "", []


def _matched(kept: Path, frames: _Frames) -> list[float]:
    """Find each written line in the client's text and return how long it took, in ms."""
    out: list[float] = []
    position = frame = 0
    for path in sorted(kept.glob("plan-*.out")) + sorted(kept.glob("apply-*.out")):
        for raw in path.read_bytes().splitlines():
            event = json.loads(raw)
            text = events.readable(event, path.name.startswith("apply"))
            if not text:
                continue
            begin = frames.text.find(text.encode(), position)
            if begin < 0:
                raise RuntimeError(f"the client never got the line {text!r}")
            position = begin + len(text.encode())
            while frames.at[frame][1] < position:
                frame += 1
            out.append((frames.at[frame][0] - datetime.fromisoformat(event["@timestamp"]).timestamp()) * 1000)
    return out
