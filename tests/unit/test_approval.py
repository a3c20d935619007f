"""When a project's policy stops a plan, and who may let it through."""

import pytest

from app.domain.approval import APPROVER_ROLES, ApprovalPolicy, Refusal, Rule, Stop, approvers, refusal, stop_of, stops, who_decides
from app.domain.permissions import Role
from app.domain.run_state import RunKind

CREATE, UPDATE, DELETE, REPLACE = ["create"], ["update"], ["delete"], ["replace"]
A, O, D, V = Role.ADMINISTRATOR, Role.OPERATOR, Role.DEVELOPER, Role.VIEWER  # noqa: E741 - a table of roles


@pytest.mark.parametrize(
    ("policy", "waiting"),
    [
        (ApprovalPolicy.NEVER, []),
        (ApprovalPolicy.ADDS_ONLY, [UPDATE, DELETE, REPLACE, [*CREATE, *UPDATE]]),
        (ApprovalPolicy.DESTROYING, [DELETE, REPLACE]),
        (ApprovalPolicy.ALWAYS, [CREATE, UPDATE, DELETE, REPLACE, [*CREATE, *UPDATE]]),
    ],
)
def test_a_policy_stops_the_plans_it_names_and_no_others(policy: ApprovalPolicy, waiting: list[list[str]]) -> None:
    plans = [CREATE, UPDATE, DELETE, REPLACE, [*CREATE, *UPDATE]]
    assert [plan for plan in plans if stops(policy, RunKind.CHANGE, plan)] == waiting


def test_finishing_the_half_made_servers_of_a_request_still_only_adds() -> None:
    assert not stops(ApprovalPolicy.ADDS_ONLY, RunKind.CREATE, ["create", "import", "update"])
    assert stops(ApprovalPolicy.ADDS_ONLY, RunKind.CREATE, ["create", "replace"])
    assert stops(ApprovalPolicy.ADDS_ONLY, RunKind.CHANGE, ["update"])


@pytest.mark.parametrize(
    ("code", "policy", "stop"),
    [
        ("asked_to_confirm", ApprovalPolicy.NEVER, Stop.REQUESTER),
        ("asked_to_confirm", ApprovalPolicy.ALWAYS, Stop.POLICY),
        ("policy_always", ApprovalPolicy.ALWAYS, Stop.POLICY),
        ("policy_always", ApprovalPolicy.NEVER, Stop.REQUESTER),
        ("destroys_unasked", ApprovalPolicy.NEVER, Stop.GUARD),
        ("beyond_approved", ApprovalPolicy.ALWAYS, Stop.GUARD),
        ("state_rolled_back", ApprovalPolicy.NEVER, Stop.GUARD),
        (None, ApprovalPolicy.NEVER, Stop.GUARD),
    ],
)
def test_what_a_plan_waits_for_follows_the_present_rule(code: str | None, policy: ApprovalPolicy, stop: Stop) -> None:
    assert stop_of(Rule("p", policy), code, RunKind.CREATE, CREATE) == stop


@pytest.mark.parametrize(
    ("least", "of_policy", "of_guard"),
    [(None, {A, O}, {A, O}), (A, {A}, {A}), (O, {A, O}, {A, O}), (D, {A, O, D}, {A, O})],
)
def test_a_project_says_from_which_role_on_people_approve(least: Role | None, of_policy: set[Role], of_guard: set[Role]) -> None:
    rule = Rule("p", ApprovalPolicy.ALWAYS, least)
    assert approvers(rule, Stop.POLICY) == of_policy
    assert approvers(rule, Stop.GUARD) == of_guard, "what the guard stopped stays with the permission"
    assert approvers(rule, Stop.REQUESTER) == {A, O}


def test_viewers_never_approve() -> None:
    assert V not in APPROVER_ROLES
    for stop in Stop:
        for least in (None, *Role):
            assert V not in approvers(Rule("p", ApprovalPolicy.ALWAYS, least), stop)
    assert refusal(Rule("p"), Stop.REQUESTER, V, is_requester=True) == Refusal.ROLE


@pytest.mark.parametrize("role", [A, O, D])
def test_under_four_eyes_no_requester_approves_what_policy_or_guard_stopped(role: Role) -> None:
    rule = Rule("p", ApprovalPolicy.ALWAYS, D, four_eyes=True)
    for stop in (Stop.POLICY, Stop.GUARD):
        assert refusal(rule, stop, role, is_requester=True) == Refusal.SAME_PERSON
    assert refusal(rule, Stop.POLICY, role, is_requester=False) is None
    assert refusal(rule, Stop.REQUESTER, role, is_requester=True) is None, "he only wanted to look at it first"


def test_without_four_eyes_a_requester_whose_role_approves_may_approve_his_own() -> None:
    rule = Rule("p", ApprovalPolicy.ALWAYS)
    assert refusal(rule, Stop.POLICY, O, is_requester=True) is None
    assert refusal(rule, Stop.POLICY, D, is_requester=True) == Refusal.ROLE


def test_who_decides_is_said_in_one_sentence() -> None:
    assert who_decides(Rule("p"), Stop.REQUESTER) == "decides_requester"
    assert who_decides(Rule("p", ApprovalPolicy.ALWAYS, four_eyes=True), Stop.POLICY) == "decides_operator_other"
    assert who_decides(Rule("p", ApprovalPolicy.ALWAYS, A), Stop.GUARD) == "decides_administrator"
    assert who_decides(Rule("p", ApprovalPolicy.ALWAYS, D), Stop.POLICY) == "decides_developer"
    assert who_decides(Rule("p", ApprovalPolicy.ALWAYS, D, four_eyes=True), Stop.GUARD) == "decides_operator_other"


def test_every_sentence_on_who_decides_has_its_text() -> None:
    from app.messages import MESSAGES

    for least in (None, *APPROVER_ROLES):
        for four_eyes in (False, True):
            for stop in Stop:
                assert who_decides(Rule("p", ApprovalPolicy.ALWAYS, least, four_eyes), stop) in MESSAGES
