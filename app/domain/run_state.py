"""A run's states, the one table of its transitions, and who moves each state on."""

from dataclasses import dataclass
from enum import StrEnum


class RunState(StrEnum):
    PENDING = "pending"
    PLAN_QUEUED = "plan_queued"
    PLANNING = "planning"
    PLANNED = "planned"
    APPLY_QUEUED = "apply_queued"
    APPLYING = "applying"
    APPLIED = "applied"
    PLANNED_AND_FINISHED = "planned_and_finished"
    ERRORED = "errored"
    CANCELED = "canceled"
    DISCARDED = "discarded"


class RunKind(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    ROLLBACK = "rollback"  # of the workspace's state to a former version, and a look at what Terraform makes of it


class ApplyMode(StrEnum):
    AUTO = "auto"
    CONFIRM = "confirm"


S = RunState
FINAL = frozenset({S.APPLIED, S.PLANNED_AND_FINISHED, S.ERRORED, S.CANCELED, S.DISCARDED})
# What was asked for is there.
GOOD = frozenset({S.APPLIED, S.PLANNED_AND_FINISHED})
# One run of a workspace may be in one of these; the others wait as `pending`.
ACTIVE = frozenset({S.PLAN_QUEUED, S.PLANNING, S.PLANNED, S.APPLY_QUEUED, S.APPLYING})
QUEUED = frozenset({S.PLAN_QUEUED, S.APPLY_QUEUED})
RUNNING = frozenset({S.PLANNING, S.APPLYING})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    S.PENDING: frozenset({S.PLAN_QUEUED, S.CANCELED, S.DISCARDED, S.ERRORED}),
    S.PLAN_QUEUED: frozenset({S.PLANNING, S.CANCELED, S.ERRORED}),
    # planning → planning: a new runner took over from a dead one
    S.PLANNING: frozenset({S.PLANNING, S.PLANNED, S.PLANNED_AND_FINISHED, S.ERRORED, S.CANCELED}),
    S.PLANNED: frozenset({S.APPLY_QUEUED, S.APPLYING, S.DISCARDED, S.CANCELED, S.ERRORED, S.PLAN_QUEUED}),
    S.APPLY_QUEUED: frozenset({S.APPLYING, S.CANCELED, S.ERRORED, S.PLAN_QUEUED}),
    # applying → planned: a resume found that more is needed than what was approved
    S.APPLYING: frozenset({S.APPLYING, S.APPLIED, S.PLANNED, S.APPLY_QUEUED, S.ERRORED, S.CANCELED}),
    S.APPLIED: frozenset(),
    S.PLANNED_AND_FINISHED: frozenset(),
    S.ERRORED: frozenset(),
    S.CANCELED: frozenset(),
    S.DISCARDED: frozenset(),
}


def can_move(old: RunState, new: RunState) -> bool:
    """True when the table has the transition."""
    return new in TRANSITIONS[old]


@dataclass(frozen=True)
class Mover:
    """Who moves a state on, and the sweeper's rule for when nobody did."""

    by: str
    rule: str | None  # name of the function in services/sweeper.py
    after_s: int | None


MOVERS: dict[RunState, Mover] = {
    S.PENDING: Mover("the end of the workspace's active run", "promote_pending", 10),
    S.PLAN_QUEUED: Mover("the claim by a Celery task", "ring_queued", 10),
    S.PLANNING: Mover("its runner", "resume_dead", 20),
    S.PLANNED: Mover("a person, or the runner when it may go on alone", "expire_planned", 86_400),
    S.APPLY_QUEUED: Mover("the claim by a Celery task", "ring_queued", 10),
    S.APPLYING: Mover("its runner", "resume_dead", 20),
    **{state: Mover("nobody", None, None) for state in FINAL},
}

LEASE_RENEW_S = 5
LEASE_GIVE_UP_S = 15  # a runner that cannot renew for so long has Terraform stopped; less than LEASE_DEAD_S
LEASE_DEAD_S = 20
MAX_RESUMES = 3
