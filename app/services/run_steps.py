"""How far a run is: its steps with their times, and what has become of each of its servers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.run_activity import is_done
from app.domain.run_state import FINAL, GOOD, QUEUED, RunKind, RunState
from app.models import Run


class StepName(StrEnum):
    WAITING = "waiting"
    PLANNING = "planning"
    CONFIRMING = "confirming"
    APPLYING = "applying"


@dataclass(frozen=True)
class Step:
    """A stretch of a run: `begun` is None while it is ahead, `ended` while it lasts; `failed`: the run ended in it, badly."""

    name: StepName
    begun: datetime | None = None
    ended: datetime | None = None
    failed: bool = False


def steps(run: Run) -> list[Step]:
    """Return the steps that the run has taken, takes, and has ahead; of one that is over only those it took."""
    over = run.state in FINAL
    decided = run.approved_at or (run.finished_at if run.state in (RunState.DISCARDED, RunState.CANCELED) and run.guard else None)
    asked = run.state == RunState.PLANNED or decided is not None
    times: list[tuple[StepName, datetime | None, datetime | None]] = [
        (StepName.WAITING, run.created_at, run.started_at),
        (StepName.PLANNING, run.started_at, run.planned_at),
    ]
    if asked:
        times.append((StepName.CONFIRMING, run.planned_at, decided))
    times.append((StepName.APPLYING, run.apply_started_at, run.finished_at))
    out = []
    for number, (name, begun, ended) in enumerate(times):
        # A step ends at the latest when a later one begins, or the run ends.
        later = next((b for _, b, _ in times[number + 1 :] if b is not None), None)
        end = (ended or later or run.finished_at) if begun else None
        if begun or not over:
            out.append(Step(name, begun, end))
    if over and run.state not in GOOD and out:
        out[-1] = Step(out[-1].name, out[-1].begun, out[-1].ended, failed=True)
    if run.state in QUEUED and run.planned_at:  # approved, and waiting for somebody to begin
        out[-1] = Step(StepName.APPLYING)
    return out


@dataclass(frozen=True)
class ServerPart:
    """One server of a run: `state` is done, failed, missing (not there, or not any more), working, or waiting."""

    name: str
    state: str
    step: str = ""
    percent: int | None = None


def parts(run: Run) -> list[ServerPart]:
    """Return what has become of each server, in the order in which they were named."""
    result: dict[str, Any] = run.result or {}
    out = []
    for slug, name in zip(run.targets, run.names, strict=False):
        now = run.activity.get(slug) or {}
        if run.state in GOOD or name in result.get("done", ()) or is_done(now):
            state = "done"
        elif run.state in FINAL:
            state = "missing" if name in result.get("missing", ()) and run.kind == RunKind.CREATE else "failed"
        else:
            state = "working" if now else "waiting"
        out.append(ServerPart(name, state, str(now.get("step", "")), now.get("percent")))
    return out
