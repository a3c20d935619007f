"""From a notification's commit to the moment every open stream has it, beside a bare broadcaster."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.bench.floor import STREAM, floor, instance
from tests.bench.product import Product, product
from tests.bench.report import Report
from tests.bench.stats import percentile
from tests.stack import ROOT

# Clients → events a round, and the pause between two: enough for a p99, and never two at once.
EVENTS = {1: (100, 0.03), 200: (40, 0.1), 1000: (20, 0.3)}
GOALS = {1000: (60.0, 120.0)}
SETTLE_S = 1.0
PAYLOAD = '{"id": 1, "code": "run_applied", "args": {"servers": ["bench-1"], "kind": "create", "run": 1, "seq": %d}, "severity": "success", "link": "/runs/1", "own": true, "unread": 1}'
Send = Callable[[int], float]


def streams(place: Path, report: Report, rounds: int) -> None:
    """All clients are streams of one user, so that each gets each notification."""
    report.heading("streams", f"notification committed → client, {', '.join(map(str, EVENTS))} clients, beside a bare broadcaster")
    ours: dict[int, list[float]] = {n: [] for n in EVENTS}
    bare: dict[int, list[float]] = {n: [] for n in EVENTS}
    with product(place) as one, floor(one.stack, place) as base, _notifier(one) as notify:
        publish = _publisher(one)
        for number in range(1, rounds + 1):
            for count, (events, pause_s) in EVENTS.items():
                mine = _deliveries(one.api.base, "/api/notifications/stream", one.api.token, count, events, pause_s, notify)
                theirs = _deliveries(base, "/stream", "", count, events, pause_s, publish)
                ours[count].append(percentile(mine, 0.99))
                bare[count].append(percentile(theirs, 0.99))
                report.round("streams", number, f"{count} clients", f"product {_said(mine)}", f"bare {_said(theirs)}")
    for count in EVENTS:
        report.value(f"streams: notification committed → client, p99, {count} clients", ours[count], "ms", *GOALS.get(count, (None, None)))
    for count in EVENTS:
        report.ratio(f"streams: the same ÷ bare broadcaster, {count} clients", ours[count], bare[count], "ms")


def _said(values: list[float]) -> str:
    return f"p50 {percentile(values, 0.5):.1f} p99 {percentile(values, 0.99):.1f} ms"


@contextmanager
def _child(module: str, *arguments: str, env: Mapping[str, str], greeting: str) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        if _line(child).strip() != greeting:
            raise RuntimeError(f"{module} did not start")
        yield child
    finally:
        child.terminate()
        child.wait(10)


def _line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def _say(child: "subprocess.Popen[str]", text: str) -> str:
    """Write a line to the child and return its answer."""
    assert child.stdin is not None
    child.stdin.write(text + "\n")
    child.stdin.flush()
    return _line(child)


@contextmanager
def _notifier(one: Product) -> Iterator[Send]:
    with _child("tests.bench.notifier", env=one.stack.env, greeting="ready") as child:
        yield lambda number: float(_say(child, str(number)).split()[1])


def _publisher(one: Product) -> Send:
    client = redis.Redis.from_url(instance(one.stack)["redis_url"])

    def publish(number: int) -> float:
        began = time.time()
        client.xadd(STREAM, {"d": PAYLOAD % number}, maxlen=1000)
        return began

    return publish


def _deliveries(base: str, path: str, token: str, count: int, events: int, pause_s: float, send: Send) -> list[float]:
    """Open the streams, send the events, return what each took to each client, in ms."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "TOKEN": token}
    with _child("tests.bench.clients", base, path, str(count), env=env, greeting="open") as clients:
        time.sleep(SETTLE_S)
        _next.extend(range(len(_next), len(_next) + events))
        sent: dict[int, float] = {}
        for number in _next[-events:]:
            sent[number] = send(number)
            time.sleep(pause_s)
        time.sleep(SETTLE_S)
        got: dict[str, list[float]] = json.loads(_say(clients, "report"))
    out = [(at - began) * 1000 for number, began in sent.items() for at in got.get(str(number), [])]
    if len(out) != count * events:
        raise RuntimeError(f"{count * events - len(out)} of {count * events} deliveries are missing")
    return out


# Numbers of events: none is used twice in a run of the bench.
_next: list[int] = []
