"""Runs through the product beside Terraform by hand: one server, ten at once, a batch, plans without a difference."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.services.settings import RuntimeSettings
from tests.bench.by_hand import Hand
from tests.bench.product import ONE_SECOND, PLAIN, WITH_AGENT, Product, all_running, product
from tests.bench.report import Report

TEN, FIFTY, CHECKS, AT_ONCE = 10, 50, 20, 5
# What the product grants one batch of one template on an idle system (services/slots.py).
PARALLELISM = min(RuntimeSettings().parallelism, RuntimeSettings().slots_per_template)


@dataclass(frozen=True)
class Ground:
    """One started product and somebody who does the same by hand."""

    product: Product
    hand: Hand
    report: Report
    rounds: int


@contextmanager
def ground(place: Path, report: Report, rounds: int) -> Iterator[Ground]:
    """Start the product and let it make two servers, so that every part has worked once."""
    with product(place) as started:
        started.make_plain_template()
        started.create(started.new_name())
        _, asked = started.create(started.new_name())
        hand = Hand(place, started, started.inputs_of(asked["run_id"]))
        hand.reviewed(hand.folder(1))
        hand.clear()
        yield Ground(started, hand, report, rounds)


def _both(on: Ground, name: str, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Measure both sides in every round, each first in every other one."""
    mine: list[float] = []
    hand: list[float] = []
    for number in range(1, on.rounds + 1):
        if number % 2:
            mine.append(ours())
            hand.append(theirs())
        else:
            hand.append(theirs())
            mine.append(ours())
        on.report.round(name, number, f"product {mine[-1]:.2f} s", f"by hand {hand[-1]:.2f} s", f"ratio {mine[-1] / hand[-1]:.2f}")
    return mine, hand


def _one(on: Ground, name: str, clone_s: float, what: str, template: str = PLAIN, goal: float | None = None, must: float | None = None) -> None:
    on.report.heading(name, f"{what}, request → running, beside init, plan, show, apply")
    on.product.pace(clone_s)
    _, first = on.product.create(on.product.new_name(), template=template)
    inputs = on.product.inputs_of(first["run_id"])
    on.product.remove(first["servers"])

    def ours() -> float:
        seconds, asked = on.product.create(on.product.new_name(), template=template)
        on.product.check_running(asked["servers"])
        on.product.remove(asked["servers"])
        return seconds

    def theirs() -> float:
        seconds = on.hand.reviewed(on.hand.folder(1, inputs))
        on.hand.check_running()
        on.hand.clear()
        return seconds

    mine, hand = _both(on, name, ours, theirs)
    on.report.ratio(f"{name}: {what} ÷ by hand", mine, hand, "s", goal, must)


def one(on: Ground) -> None:
    """One server whose clone takes a second."""
    _one(on, "one", ONE_SECOND, "one server, 1 s clone", goal=1.05, must=1.2)


def one_instant(on: Ground) -> None:
    """One server whose clone takes no time: what is left is overhead."""
    _one(on, "one-instant", 0, "one server, 0 s clone", goal=1.2, must=1.6)


def one_agent(on: Ground) -> None:
    """One server with a guest agent, as the templates of most clusters have it."""
    _one(on, "one-agent", ONE_SECOND, "one server with a guest agent, 1 s clone", WITH_AGENT)


def ten(on: Ground) -> None:
    """Ten requests of one server each at the same moment."""
    on.report.heading("ten", "ten requests at once, 1 s clone, last one running, beside ten people's commands at once")
    on.product.pace(ONE_SECOND)
    short: list[float] = []

    def ours() -> float:
        names = [on.product.new_name() for _ in range(TEN)]
        since, began = on.product.watch.position(), time.monotonic()
        with ThreadPoolExecutor(TEN) as pool:
            list(pool.map(lambda name: on.product.api.create(name, PLAIN), names))
        ended = on.product.watch.until(all_running(names), since)
        on.product.check_running(names)
        on.product.remove(names)
        return ended - began

    def at_once(work: Callable[[Path], float]) -> float:
        folders = [on.hand.folder(1) for _ in range(TEN)]
        began = time.monotonic()
        with ThreadPoolExecutor(TEN) as pool:
            list(pool.map(work, folders))
        seconds = time.monotonic() - began
        on.hand.check_running()
        on.hand.clear()
        return seconds

    def theirs() -> float:
        short.append(at_once(on.hand.unreviewed))
        return at_once(on.hand.reviewed)

    mine, hand = _both(on, "ten", ours, theirs)
    print(f"  ten: init + apply -auto-approve by hand: {_listed(short)} s", flush=True)
    on.report.ratio("ten: ten at once, last running ÷ ten by hand (init, plan, show, apply)", mine, hand, "s", 1.7, 2.2)
    on.report.ratio("ten: the same ÷ ten by hand without a look (init, apply)", mine, short, "s")


def batch(on: Ground) -> None:
    """Fifty servers in one request."""
    on.report.heading("batch", f"batch of {FIFTY}, 1 s clone, beside plan and apply with -parallelism={PARALLELISM}")
    on.product.pace(ONE_SECOND)

    def ours() -> float:
        seconds, asked = on.product.create(on.product.new_name(), FIFTY)
        on.product.check_running(asked["servers"])
        on.product.remove(asked["servers"])
        return seconds

    def theirs() -> float:
        folder = on.hand.folder(FIFTY)
        on.hand.init(folder)  # not counted: the product has no such step either
        seconds = on.hand.plan(folder) + on.hand.apply(folder, PARALLELISM)
        on.hand.check_running()
        on.hand.clear()
        return seconds

    mine, hand = _both(on, "batch", ours, theirs)
    on.report.ratio(f"batch: {FIFTY} servers, 1 s clone ÷ plan + apply by hand", mine, hand, "s", 1.05, 1.2)


def checks(on: Ground) -> None:
    """Twenty plans that find nothing to do, five at a time, each on a server of its own.

    A change to what is there already is refused, so the tag that a request asks for is put on the guest a moment before,
    as if by hand in Proxmox: Terraform reads the guest, compares, and finds no difference.
    """
    on.report.heading("checks", f"{CHECKS} plans without a difference, {AT_ONCE} at a time, beside init and plan by hand")
    on.product.pace(0)
    names = [on.product.create(on.product.new_name())[1]["servers"][0] for _ in range(AT_ONCE)]
    vmids = {vm["name"]: vm["vmid"] for vm in on.product.control("vms")}
    folders = [on.hand.folder(1) for _ in range(AT_ONCE)]
    for folder in folders:
        on.hand.reviewed(folder)
    for name in names:  # the provider compares tags only once a server had some
        since = on.product.watch.position()
        on.product.run_ended(on.product.api.change(name, tags=["first"])["run_id"], since, "applied")
    tags = iter(range(10_000))

    def change(name: str) -> None:
        for _ in range(CHECKS // AT_ONCE):
            tag = f"t{next(tags)}"
            on.product.control("set", vmid=vmids[name], config={"tags": tag})
            since = on.product.watch.position()
            asked = on.product.api.change(name, tags=[tag])
            on.product.run_ended(asked["run_id"], since, "planned_and_finished")

    def look(folder: Path) -> None:
        for _ in range(CHECKS // AT_ONCE):
            on.hand.init(folder)
            on.hand.plan(folder)

    def five(work: Callable[..., None], items: Sequence[object]) -> float:
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(work, items))
        return time.monotonic() - began

    mine, hand = _both(on, "checks", lambda: five(change, names), lambda: five(look, folders))
    on.product.remove(names)
    on.hand.clear()
    on.report.ratio(f"checks: {CHECKS} plans without a difference ÷ by hand", mine, hand, "s", 1.2, 1.5)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
