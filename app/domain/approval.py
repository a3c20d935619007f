"""When a project wants a person to look at a plan that nothing else stops, and who that person may be."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.domain.permissions import PERMISSIONS, Permission, Role
from app.domain.run_state import RunKind


class ApprovalPolicy(StrEnum):
    NEVER = "never"  # what was asked for goes on alone
    ADDS_ONLY = "adds_only"  # only plans that make servers and nothing else go on alone
    DESTROYING = "destroying"  # plans that delete or replace wait
    ALWAYS = "always"


@dataclass(frozen=True)
class Rule:
    """A project's rule. `approver_role` is the least role that approves; None: whoever has the permission `approve`."""

    project: str
    policy: ApprovalPolicy = ApprovalPolicy.NEVER
    approver_role: Role | None = None
    four_eyes: bool = False


class Stop(StrEnum):
    """What a waiting plan waits for."""

    REQUESTER = "requester"  # he asked to look at it first, and nobody else wants to
    POLICY = "policy"
    GUARD = "guard"  # it does more than was asked for


class Refusal(StrEnum):
    ROLE = "role"
    SAME_PERSON = "same_person"


# Least first. A viewer changes nothing, whatever a project says.
ORDER = (Role.VIEWER, Role.DEVELOPER, Role.OPERATOR, Role.ADMINISTRATOR)
APPROVER_ROLES = ORDER[:0:-1]
ASKED = "asked_to_confirm"
REASONS: dict[ApprovalPolicy, str] = {policy: f"policy_{policy.value}" for policy in ApprovalPolicy if policy != ApprovalPolicy.NEVER}
_DESTROYS = frozenset({"delete", "replace"})
_MAKES = frozenset({"create"})
# Half-made servers of the same request are taken in and finished: that makes servers too.
_FINISHES = _MAKES | {"import", "update"}


def stops(policy: ApprovalPolicy, kind: RunKind, actions: Iterable[str]) -> bool:
    """True when the policy wants a person to see a plan of these actions before it is applied."""
    planned = set(actions)
    if policy == ApprovalPolicy.ADDS_ONLY:
        return not planned <= (_FINISHES if kind == RunKind.CREATE else _MAKES)
    if policy == ApprovalPolicy.DESTROYING:
        return bool(planned & _DESTROYS)
    return policy == ApprovalPolicy.ALWAYS


def stop_of(rule: Rule, code: str | None, kind: RunKind, actions: Iterable[str]) -> Stop:
    """Return what a plan that waits for the reason `code` waits for by the project's present rule."""
    if code != ASKED and code not in REASONS.values():
        return Stop.GUARD
    return Stop.POLICY if stops(rule.policy, kind, actions) else Stop.REQUESTER


def approvers(rule: Rule, stop: Stop) -> frozenset[Role]:
    """Return the roles that may let the plan through.

    A project may give its policy's plans to roles without the permission `approve`; what the guard stopped may concern
    servers of others and stays with those who have it.
    """
    able = frozenset(role for role in Role if Permission.APPROVE in PERMISSIONS[role])
    if stop == Stop.REQUESTER or rule.approver_role is None:
        return able
    enough = frozenset(ORDER[max(ORDER.index(rule.approver_role), 1) :])
    return enough if stop == Stop.POLICY else enough & able


def needs_another(rule: Rule, stop: Stop) -> bool:
    """True when the requester may not approve, whatever his role."""
    return rule.four_eyes and stop != Stop.REQUESTER


def refusal(rule: Rule, stop: Stop, role: Role, is_requester: bool) -> Refusal | None:
    """Return why this person may not approve; None when he may."""
    if is_requester and needs_another(rule, stop):
        return Refusal.SAME_PERSON
    if is_requester and stop == Stop.REQUESTER and role != Role.VIEWER:
        return None
    return None if role in approvers(rule, stop) else Refusal.ROLE


def who_decides(rule: Rule, stop: Stop) -> str:
    """Return the code of the sentence that says who may approve; its argument is `requester`."""
    if stop == Stop.REQUESTER:
        return "decides_requester"
    least = min(approvers(rule, stop), key=ORDER.index)
    return f"decides_{least.value}" + ("_other" if needs_another(rule, stop) else "")
