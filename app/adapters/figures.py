"""What workers and runners count, for `/metrics`: sums in one Redis hash, since they come and go, also on other machines.

    figures.count(figures.TERRAFORM_EXITS, "apply", "0")
    figures.took(figures.PROXMOX_S, 0.012)

Never the truth, and never waited for: without Redis nothing is counted, and a flushed Redis begins at zero, as counters may.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from app.adapters.redis_client import RedisClient

KEY, WORKERS_KEY = "tpm:figures", "tpm:workers"
ALIVE_S, SIGN_S = 20.0, 5.0  # a worker that gave no sign for so long is gone; how often each gives one
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Figure:
    """A counter, or with `seconds` a histogram of seconds."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    seconds: bool = False


CLAIMS_LOST = Figure("tpm_claims_lost", "Deliveries that found their run or action claimed, and writes of runners whose claim was taken.", ("what",))
SWEEPS = Figure("tpm_sweeps", "Rounds of the sweeper.")
TERRAFORM_EXITS = Figure("tpm_terraform_exits", "Ends of Terraform by command and exit code.", ("command", "code"))
PROXMOX_S = Figure("tpm_proxmox_seconds", "Time a call to Proxmox's API took.", seconds=True)
PROXMOX_ERRORS = Figure("tpm_proxmox_errors", "Calls to Proxmox's API that failed.", ("code",))
STATE_REFUSED = Figure("tpm_state_writes_refused", "Writes of a Terraform state that were refused.", ("reason",))
ALL = (CLAIMS_LOST, SWEEPS, TERRAFORM_EXITS, PROXMOX_S, PROXMOX_ERRORS, STATE_REFUSED)
_store = RedisClient()
_signed_at = 0.0


def count(figure: Figure, *labels: str) -> None:
    """Count one."""
    _store.add(KEY, {_field(figure, *labels): 1})


def took(figure: Figure, seconds: float) -> None:
    """Note how long something took."""
    bucket = next((str(b) for b in BUCKETS if seconds <= b), "+Inf")
    _store.add(KEY, {_field(figure, bucket): 1, _field(figure, "sum"): seconds})


def _field(figure: Figure, *labels: str) -> str:
    return json.dumps([figure.name, *(label[:64] for label in labels)])


def read() -> dict[str, dict[tuple[str, ...], float]]:
    """Return the sums by figure and labels; of a histogram by bucket, not added up, and "sum"."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for field, amount in _store.sums(KEY).items():
        name, *labels = json.loads(field)
        found.setdefault(name, {})[tuple(labels)] = amount
    return found


def histogram(amounts: Mapping[tuple[str, ...], float]) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets added up, smallest first, and the sum of all seconds."""
    added, buckets = 0.0, []
    for bucket in (*map(str, BUCKETS), "+Inf"):
        added += amounts.get((bucket,), 0)
        buckets.append((bucket, added))
    return buckets, amounts.get(("sum",), 0)


# ---- workers
def worker_is_there(hostname: str) -> None:
    """A worker's sign of life; called as often as it likes."""
    global _signed_at  # noqa: PLW0603 - one worker a process
    if time.monotonic() - _signed_at > SIGN_S:
        _signed_at = time.monotonic()
        _store.sign(WORKERS_KEY, hostname, ALIVE_S)


def workers() -> list[str] | None:
    """Return the workers that gave a sign of life; None when that cannot be told."""
    return _store.signed(WORKERS_KEY, ALIVE_S)
