"""What disturbances cost: a cancel, a batch whose runner and Terraform are killed in the middle, and who dies how."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.product import PLAIN, Product, all_running, product
from tests.bench.report import Report
from tests.bench.runs import FIFTY, ONE_SECOND
from tests.bench.stats import median
from tests.stack import children, eventually

CANCELS = 12
SMALL = 6
CLONE_S = 3.0
TOLD = "Interrupt received"


def recovery(place: Path, report: Report, rounds: int) -> None:
    """All of it on one instance."""
    with product(place) as one:
        one.make_plain_template()
        one.create(one.new_name())
        cancel(one, report)
        batch(one, report, rounds)
        deaths(one, report, rounds)


# ---------------------------------------------------------------- cancel
def cancel(one: Product, report: Report) -> None:
    """From "cancel" pressed to Terraform's own word that it was interrupted."""
    report.heading("recovery", f"cancel pressed → Terraform has the signal, {CANCELS} times")
    one.pace(2.0)
    seconds = []
    for number in range(1, CANCELS + 1):
        run_id = one.api.create(one.new_name(), PLAIN)["run_id"]
        folder = one.data_dir / "runs" / str(run_id)
        _await_text(folder, "apply_start")
        since, pressed = one.watch.position(), time.time()
        one.api.post(f"/api/runs/{run_id}/cancel")
        seconds.append(_await_text(folder, TOLD) - pressed)
        one.watch.until(lambda e, r=run_id: e.type == "run" and e.data["id"] == r and e.data["state"] in ("applied", "canceled"), since)  # type: ignore[misc]  # bound now
        report.round("recovery", number, f"cancel {seconds[-1] * 1000:.0f} ms")
    report.value("recovery: cancel pressed → Terraform interrupted, p50", seconds, "s", None, 0.2)


def _await_text(folder: Path, text: str) -> float:
    """Return the time that Terraform put on the first line with this text (epoch seconds)."""

    def find() -> str | None:
        lines = (line for path in folder.glob("apply-*.out") for line in path.read_text("utf-8", "replace").splitlines())
        return next((line for line in lines if text in line), None)

    stamp = str(json.loads(eventually(find, 30, text))["@timestamp"])
    whole, fraction = time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"), float("0." + stamp[20:26])
    offset = stamp[26:]
    shift = 0 if offset in ("Z", "") else (1 if offset[0] == "+" else -1) * (int(offset[1:3]) * 3600 + int(offset[4:6]) * 60)
    return _epoch(whole) + fraction - shift


def _epoch(utc: time.struct_time) -> float:
    import calendar

    return float(calendar.timegm(utc))


# ---------------------------------------------------------------- a batch of fifty
def batch(one: Product, report: Report, rounds: int) -> None:
    """Fifty servers, once in peace and once with runner and Terraform killed when half of them are there."""
    report.heading("recovery", f"batch of {FIFTY}, 1 s clone; killed when half are made")
    one.pace(ONE_SECOND)
    killed, calm = [], []
    for number in range(1, rounds + 1):
        seconds, asked = one.create(one.new_name(), FIFTY)
        one.remove(asked["servers"])
        calm.append(seconds)
        killed.append(_killed(one, FIFTY, _runner_and_terraform)[0])
        report.round("recovery", number, f"killed {killed[-1]:.1f} s", f"in peace {calm[-1]:.1f} s")
    report.ratio(f"recovery: batch of {FIFTY}, runner and Terraform killed ÷ undisturbed", killed, calm, "s")


def _killed(one: Product, count: int, kill: Callable[[Product, int], None]) -> tuple[float, float]:
    """Seconds from the request, and from the kill, until all servers run."""
    since, began = one.watch.position(), time.monotonic()
    asked = one.api.create(one.new_name(), PLAIN, count=count)
    names = set(asked["servers"])
    half = lambda: sum(vm["name"] in names and vm["status"] == "running" for vm in one.control("vms")) >= count // 2  # noqa: E731
    eventually(half, 120, "half of the servers are made")
    struck = time.monotonic()
    kill(one, asked["run_id"])
    ended = one.watch.until(all_running(asked["servers"]), since)
    one.check_running(asked["servers"])
    if len([vm for vm in one.control("vms") if vm["name"] in names]) != count:
        raise RuntimeError("a server was made twice")
    one.remove(asked["servers"])
    return ended - began, ended - struck


# ---------------------------------------------------------------- who dies
def _kin(one: Product, run_id: int) -> tuple[int, int, int]:
    runner = one.stack.runner_pid(run_id)
    keeper = children(runner)[0]
    return runner, keeper, children(keeper)[0]


def _runner(one: Product, run_id: int) -> None:
    os.kill(_kin(one, run_id)[0], signal.SIGKILL)


def _keeper(one: Product, run_id: int) -> None:
    os.kill(_kin(one, run_id)[1], signal.SIGKILL)


def _terraform(one: Product, run_id: int) -> None:
    os.killpg(_kin(one, run_id)[2], signal.SIGKILL)


def _runner_and_terraform(one: Product, run_id: int) -> None:
    runner, _, terraform = _kin(one, run_id)
    os.killpg(terraform, signal.SIGKILL)
    os.kill(runner, signal.SIGKILL)


def _hung(one: Product, run_id: int) -> None:
    os.kill(_kin(one, run_id)[0], signal.SIGSTOP)


def _worker(one: Product, _run_id: int) -> None:
    worker = one.stack.info["pids"]["worker"]
    for pid in [worker, *children(worker)]:
        os.kill(pid, signal.SIGKILL)


def _database(one: Product, _run_id: int) -> None:
    os.kill(one.stack.info["pids"]["postgres"], signal.SIGKILL)


DEATHS: dict[str, Callable[[Product, int], None]] = {
    "nobody": lambda _one, _run: None, "worker and its pool": _worker, "terraform's group": _terraform, "keeper": _keeper, "runner": _runner,
    "runner and terraform": _runner_and_terraform, "runner hangs": _hung, "postgres": _database,
}  # fmt: skip


def deaths(one: Product, report: Report, rounds: int) -> None:
    """A batch of six, three of them made, and somebody dies: seconds until all run, by who it was."""
    report.heading("recovery", f"batch of {SMALL}, {CLONE_S:.0f} s clone, struck when half are made: seconds from the blow until all run")
    one.pace(CLONE_S)
    _half_at_a_time(one)
    took: dict[str, list[float]] = {name: [] for name in DEATHS}
    for number in range(1, rounds + 1):
        for name, kill in DEATHS.items():
            took[name].append(_killed(one, SMALL, kill)[1])
        report.round("recovery", number, *(f"{name} {values[-1]:.1f} s" for name, values in took.items()))
    for name, values in took.items():
        print(f"  recovery: {name}: median {median(values):.1f} s", flush=True)
        report.value(f"recovery: {name} dies → all servers run" if name != "nobody" else "recovery: nobody dies: the other half takes", values, "s")


def _half_at_a_time(one: Product) -> None:
    answer = one.api.call("PATCH", "/api/settings", {"parallelism": SMALL // 2})
    if answer.status != 200:
        raise RuntimeError(f"settings answer {answer.status}")
