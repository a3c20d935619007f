"""From "apply" pressed to the moment Terraform's process exists."""

import threading
import time
from pathlib import Path

from tests.bench.product import PLAIN
from tests.bench.runs import Ground
from tests.bench.stats import median, percentile

PRESSES = 12
PATIENCE_S = 30.0
POLL_S = 0.002


def approval(on: Ground) -> None:
    """Approve waiting plans one after the other on an idle system."""
    on.report.heading("approval", f"apply pressed → terraform started, {PRESSES} times")
    on.product.pace(0)
    seconds: list[float] = []
    for number in range(1, max(PRESSES, on.rounds) + 1):
        seconds.append(_press(on))
        on.report.round("approval", number, f"{seconds[-1] * 1000:.0f} ms")
    print(f"  approval: p50 {median(seconds):.3f} s, p90 {percentile(seconds, 0.9):.3f} s", flush=True)
    on.report.value("approval: apply pressed → terraform started, p50", seconds, "s", 0.1, 0.3)


def _press(on: Ground) -> float:
    name, since = on.product.new_name(), on.product.watch.position()
    run_id = on.product.api.create(name, PLAIN, apply="confirm")["run_id"]
    on.product.run_ended(run_id, since, "planned")
    found: list[float] = []
    watcher = threading.Thread(target=_await_process, args=(on.product.data_dir / "runs" / str(run_id), found))
    since = on.product.watch.position()
    watcher.start()
    began = time.monotonic()
    answer = on.product.api.post(f"/api/runs/{run_id}/apply")
    watcher.join()
    if answer.status != 202 or not found:
        raise RuntimeError(f"run {run_id}: apply answered {answer.status}, terraform {'seen' if found else 'not seen'}")
    on.product.run_ended(run_id, since, "applied")
    on.product.remove([name])
    return found[0] - began


def _await_process(folder: Path, found: list[float]) -> None:
    """Wait for the file the keeper opens right before it starts Terraform, then for the process itself."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and not any(folder.glob("apply-*.err")):
        time.sleep(POLL_S)
    while time.monotonic() < end:
        if _running_in(folder):
            found.append(time.monotonic())
            return
        time.sleep(POLL_S)


def _running_in(folder: Path) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder and b"\0apply\0" in (entry / "cmdline").read_bytes():
                    return True
            except OSError:
                continue
    return False
