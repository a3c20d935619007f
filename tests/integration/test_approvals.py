"""Waiting plans: whom a project's rule lets approve them, who is told, and what the pages say about it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.domain.approval import ApprovalPolicy
from app.domain.permissions import Role
from app.domain.plan_bounds import Planned
from app.domain.run_state import ApplyMode, RunKind, RunState
from app.errors import AppError
from app.extensions import db
from app.models import AuditEvent, Cluster, Notification, Project, Run, RunEvent, User, Workspace
from app.services import approvals, run_execution, runs
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]


@pytest.fixture
def dana(make_user: Make) -> User:
    return make_user("developer", "dana")


@pytest.fixture
def anna(make_user: Make) -> User:
    return make_user("administrator", "anna")


@pytest.fixture
def workspace(dana: User) -> Workspace:
    return rows.workspace(dana)


def rule(policy: ApprovalPolicy, approver_role: Role | None = None, four_eyes: bool = False) -> None:
    with unit_of_work() as uow:
        uow.session.execute(update(Project).values(approval=policy, approver_role=approver_role, four_eyes=four_eyes))


def planned(workspace: Workspace, by: User, actions: Sequence[str] = ("update",), mode: ApplyMode = ApplyMode.AUTO, kind: RunKind = RunKind.CHANGE) -> Run:
    """A run whose runner has just stored a plan of its server and decided what becomes of it."""
    run = rows.run(workspace, by, RunState.PLANNING)
    plan = [Planned(f"server[{n}]", "web" if n == 0 else f"other-{n}", "web" if n == 0 else f"other-{n}", a) for n, a in enumerate(actions)]
    with unit_of_work() as uow:
        row = run_execution.guard(uow, run.id, 1)
        row.apply_mode, row.kind = mode, kind
        former = run_execution.approved_plan(uow, row)
        run_execution.store_plan(uow, run.id, 1, plan, b"plan", "0" * 64, 1)
        why = run_execution.verdict(row, plan, former.changes if former else [], False, approvals.rule_of(uow.session, workspace.id))
        if why:
            run_execution.wait_for_person(uow, row, why)
        else:
            run_execution.go_on(uow, row, 1)
    return run


def state_of(run: Run) -> RunState:
    db.session.rollback()
    return db.session.scalars(select(Run.state).where(Run.id == run.id)).one()


def told(code: str) -> set[str]:
    db.session.rollback()
    return set(db.session.scalars(select(User.username).join(Notification, Notification.user_id == User.id).where(Notification.code == code)))


def apply(client: Any, run: Run) -> Any:
    return client.post(f"/api/runs/{run.id}/apply", json={})


# ---------------------------------------------------------------- what stops
def test_without_a_policy_what_was_asked_for_goes_on_alone(workspace: Workspace, dana: User) -> None:
    assert state_of(planned(workspace, dana)) == RunState.APPLYING


def test_the_policys_reason_wins_over_the_requesters_wish_to_look_first(workspace: Workspace, dana: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS)
    run = planned(workspace, dana, mode=ApplyMode.CONFIRM)
    shown = client_for(dana).get(f"/api/runs/{run.id}").json
    assert shown["needs_approval"]["code"] == "policy_always" and "default" in shown["needs_approval"]["message"]
    assert apply(client_for(dana), run).status_code == 403


def test_the_guards_reason_wins_over_the_policys(workspace: Workspace, dana: User) -> None:
    rule(ApprovalPolicy.ALWAYS)
    run = planned(workspace, dana, ["replace"])
    with unit_of_work() as uow:
        assert uow.session.get_one(Run, run.id).guard["code"] == "destroys_unasked"


def test_a_deletion_waits_where_destroying_needs_approval(workspace: Workspace, dana: User, client_for: Make) -> None:
    rule(ApprovalPolicy.DESTROYING)
    run = planned(workspace, dana, ["delete"], kind=RunKind.DELETE)
    assert state_of(run) == RunState.PLANNED
    assert apply(client_for(dana), run).json["code"] == "forbidden"


def test_a_run_that_went_on_alone_is_not_stopped_by_a_policy_made_meanwhile(workspace: Workspace, dana: User) -> None:
    """A new runner plans the rest again; it is the same plan, only less of it."""
    run = planned(workspace, dana)
    rule(ApprovalPolicy.ALWAYS)
    rest, more = [Planned("server[0]", "web", "web", "update")], [Planned("server[9]", "web", "web", "update")]
    with unit_of_work() as uow:
        row = uow.session.get_one(Run, run.id)
        former, now = run_execution.approved_plan(uow, row), approvals.rule_of(uow.session, workspace.id)
        assert former is not None and row.apply_started_at is not None
        assert run_execution.verdict(row, rest, former.changes, True, now) is None
        assert run_execution.verdict(row, more, former.changes, True, now) == {"code": "policy_always", "args": {"project": "default"}}


# ---------------------------------------------------------------- who approves
def test_a_plan_its_requester_wanted_to_see_is_his_to_apply(workspace: Workspace, dana: User, client_for: Make) -> None:
    rule(ApprovalPolicy.DESTROYING, Role.ADMINISTRATOR, four_eyes=True)
    run = planned(workspace, dana, mode=ApplyMode.CONFIRM)
    assert apply(client_for(dana), run).status_code == 202


@pytest.mark.parametrize(
    ("least", "may"),
    [
        (None, {"administrator", "operator"}),
        (Role.ADMINISTRATOR, {"administrator"}),
        (Role.OPERATOR, {"administrator", "operator"}),
        (Role.DEVELOPER, {"administrator", "operator", "developer"}),
    ],
)
def test_the_projects_role_and_those_above_approve(
    workspace: Workspace, dana: User, client_for: Make, make_user: Make, least: Role | None, may: set[str]
) -> None:
    rule(ApprovalPolicy.ALWAYS, least)
    run = planned(workspace, dana)
    people = {role: dana if role == "developer" else make_user(role) for role in ("viewer", "developer", "operator", "administrator")}
    shown = {role: client_for(user).get(f"/api/runs/{run.id}").json["decision"]["may_approve"] for role, user in people.items()}
    assert {role for role, yes in shown.items() if yes} == may
    answers = {role: apply(client_for(people[role]), run).status_code for role in people if role not in may}
    assert set(answers.values()) <= {403} and state_of(run) == RunState.PLANNED
    # The least of them, so that nobody's greater rights hide a fault.
    assert apply(client_for(people[next(role for role in people if role in may)]), run).status_code == 202
    assert state_of(run) == RunState.APPLY_QUEUED


def test_a_developer_who_approves_sees_only_runs_of_his_own(workspace: Workspace, dana: User, make_user: Make, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS, Role.DEVELOPER)
    run = planned(workspace, dana)
    assert apply(client_for(make_user("developer", "stefan")), run).status_code == 404
    assert "stefan" not in told("run_planned")


def test_a_developer_approves_and_discards_what_others_ask_of_his_server(workspace: Workspace, olga: User, dana: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS, Role.DEVELOPER, four_eyes=True)
    first = planned(workspace, olga)
    page = client_for(dana, "cookie").get(f"/runs/{first.id}").text
    assert "Apply plan" in page and "Discard" in page
    assert client_for(dana).post(f"/api/runs/{first.id}/discard", json={}).status_code == 202
    second = planned(workspace, olga)
    assert apply(client_for(dana), second).status_code == 202


def test_who_may_neither_approve_nor_manage_does_not_discard(workspace: Workspace, olga: User, dana: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS)
    run = planned(workspace, olga)
    assert client_for(dana).post(f"/api/runs/{run.id}/discard", json={}).status_code == 403
    assert state_of(run) == RunState.PLANNED


def test_four_eyes_bind_administrators_too(workspace: Workspace, anna: User, olga: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    run = planned(workspace, anna)
    refused = apply(client_for(anna), run)
    assert (refused.status_code, refused.json["code"]) == (403, "four_eyes")
    assert "somebody else than anna" in refused.text
    assert client_for(anna, "cookie").post(f"/runs/{run.id}/approve").status_code == 403
    assert state_of(run) == RunState.PLANNED
    assert apply(client_for(olga), run).status_code == 202
    with unit_of_work() as uow:
        assert uow.session.get_one(Run, run.id).approved_by_id == olga.id
        assert uow.session.scalars(select(AuditEvent.username).where(AuditEvent.action == "run.apply")).all() == ["olga"]


def test_four_eyes_hold_for_what_the_guard_stopped(workspace: Workspace, olga: User, anna: User, client_for: Make) -> None:
    rule(ApprovalPolicy.NEVER, four_eyes=True)
    run = planned(workspace, olga, ["replace"])
    assert apply(client_for(olga), run).json["code"] == "four_eyes"
    assert apply(client_for(anna), run).status_code == 202


def test_the_rule_at_the_moment_of_the_approval_holds(workspace: Workspace, olga: User, anna: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS)
    run, client = planned(workspace, olga), client_for(olga)
    rule(ApprovalPolicy.ALWAYS, Role.ADMINISTRATOR)
    assert apply(client, run).json["code"] == "not_approver"
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    assert apply(client, run).json["code"] == "four_eyes"
    rule(ApprovalPolicy.NEVER, four_eyes=True)
    assert apply(client, run).status_code == 202


def test_a_plan_that_waited_for_its_requester_is_the_policys_once_there_is_one(workspace: Workspace, dana: User, client_for: Make) -> None:
    run = planned(workspace, dana, mode=ApplyMode.CONFIRM)
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    assert apply(client_for(dana), run).json["code"] == "four_eyes"


# ---------------------------------------------------------------- at the same moment
def _at_once(app: Any, *works: Callable[[], None]) -> list[str]:
    """Do all at the same moment on connections of their own; what came of each."""
    start, came = threading.Barrier(len(works), timeout=20), [""] * len(works)

    def work(index: int) -> None:
        with app.app_context():
            start.wait()
            try:
                works[index]()
                came[index] = "done"
            except AppError as exc:
                came[index] = exc.code
            finally:
                db.session.remove()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return came


def _deciding(decide: Callable[..., Any], actor: Any, run_id: int) -> Callable[[], None]:
    def work() -> None:
        with unit_of_work() as uow:
            decide(uow, actor, run_id)

    return work


@pytest.mark.parametrize("attempt", range(5))
def test_of_an_approval_and_a_discard_at_once_exactly_one_wins(
    app: Any, workspace: Workspace, dana: User, olga: User, anna: User, actor_of: Make, attempt: int
) -> None:
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    run = planned(workspace, dana)
    came = _at_once(app, _deciding(runs.approve, actor_of(olga), run.id), _deciding(runs.discard, actor_of(anna), run.id))
    assert sorted(came) == ["done", "run_state_conflict"]
    assert state_of(run) == (RunState.APPLY_QUEUED if came[0] == "done" else RunState.DISCARDED)
    audited = db.session.scalars(select(AuditEvent.action).where(AuditEvent.object_type == "run")).all()
    assert audited == ["run.apply" if came[0] == "done" else "run.discard"]


@pytest.mark.parametrize("attempt", range(5))
def test_of_the_requesters_approval_and_anothers_at_once_only_the_others_counts(
    app: Any, workspace: Workspace, anna: User, olga: User, actor_of: Make, attempt: int
) -> None:
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    run = planned(workspace, anna)
    came = _at_once(app, _deciding(runs.approve, actor_of(anna), run.id), _deciding(runs.approve, actor_of(olga), run.id))
    assert came[1] == "done" and came[0] in ("four_eyes", "run_state_conflict")
    assert state_of(run) == RunState.APPLY_QUEUED
    assert db.session.scalars(select(Run.approved_by_id).where(Run.id == run.id)).one() == olga.id


def test_of_two_approvals_at_once_one_is_written(app: Any, workspace: Workspace, dana: User, anna: User, olga: User, actor_of: Make) -> None:
    rule(ApprovalPolicy.ALWAYS)
    run = planned(workspace, dana)
    came = _at_once(app, _deciding(runs.approve, actor_of(anna), run.id), _deciding(runs.approve, actor_of(olga), run.id))
    assert sorted(came) == ["done", "run_state_conflict"]
    assert db.session.scalar(select(func.count()).where(RunEvent.run_id == run.id, RunEvent.name == "apply_queued")) == 1


# ---------------------------------------------------------------- who is told
def test_those_who_may_approve_are_asked_and_the_requester_is_told_that_it_waits(
    workspace: Workspace, dana: User, olga: User, anna: User, make_user: Make
) -> None:
    make_user("operator", "gone", active=False)
    make_user("viewer", "vera")
    rule(ApprovalPolicy.ALWAYS)
    planned(workspace, dana)
    assert told("run_planned") == {"olga", "anna"}
    assert told("run_waits") == {"dana"}


def test_under_four_eyes_the_requester_is_not_asked(workspace: Workspace, dana: User, olga: User, anna: User) -> None:
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    planned(workspace, olga)
    assert told("run_planned") == {"anna"}
    assert told("run_waits") == {"olga", "dana"}


def test_who_approves_by_a_changed_rule_is_asked_once_too(workspace: Workspace, dana: User, olga: User, anna: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS, Role.ADMINISTRATOR)
    planned(workspace, dana)
    assert told("run_planned") == {"anna"}
    number = db.session.scalar(select(Project.id))
    for _ in range(2):
        assert client_for(anna).patch(f"/api/projects/{number}", json={"approver_role": None}).status_code == 200
    assert told("run_planned") == {"anna", "olga"}
    assert db.session.scalar(select(func.count()).where(Notification.code == "run_planned")) == 2


# ---------------------------------------------------------------- rules and pages
def test_only_administrators_see_and_change_rules(workspace: Workspace, olga: User, anna: User, client_for: Make) -> None:
    number = db.session.scalar(select(Project.id))
    for client in (client_for(olga), client_for(olga, "cookie")):
        assert client.get("/api/projects").status_code == 403
        assert client.get("/admin/projects").status_code == 403
        assert client.patch(f"/api/projects/{number}", json={"approval": "always"}).status_code == 403
        assert client.post(f"/admin/projects/{number}", data={"approval": "always"}).status_code == 403
    client = client_for(anna)
    assert client.patch(f"/api/projects/{number}", json={"approval": "destroying", "four_eyes": True}).status_code == 200
    [project] = client.get("/api/projects").json["items"]
    assert (project["name"], project["approval"], project["approver_role"], project["four_eyes"]) == ("default", "destroying", None, True)
    entry = client.get("/api/audit?action=project.change").json["items"][0]
    assert entry["detail"] == {"changes": {"approval": ["never", "destroying"], "four_eyes": [False, True]}}


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"approval": "sometimes"}, "approval", "enum"),
        ({"approval": None}, "approval", "enum"),
        ({"approver_role": "viewer"}, "approver_role", "not_an_approver"),
        ({"approver_role": "king"}, "approver_role", "enum"),
        ({"four_eyes": "perhaps"}, "four_eyes", "bool_parsing"),
        ({"name": "other"}, "name", "extra_forbidden"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_field(
    workspace: Workspace, anna: User, client_for: Make, body: dict[str, Any], field: str, code: str
) -> None:
    answer = client_for(anna).patch(f"/api/projects/{db.session.scalar(select(Project.id))}", json=body)
    assert answer.status_code == 422
    assert [(e["field"], e["code"]) for e in answer.json["errors"]] == [(field, code)]


def test_a_project_that_does_not_exist_is_not_found(anna: User, client_for: Make) -> None:
    assert client_for(anna).patch("/api/projects/999", json={"approval": "always"}).status_code == 404
    assert client_for(anna, "cookie").post("/admin/projects/999", data={"approval": "always"}).status_code == 404


def test_the_page_saves_a_rule_and_shows_it(workspace: Workspace, anna: User, client_for: Make) -> None:
    browser, number = client_for(anna, "cookie"), db.session.scalar(select(Project.id))
    form = {"approval": "adds_only", "approver_role": "developer", "four_eyes": "1"}
    assert browser.post(f"/admin/projects/{number}", data=form).status_code == 303
    text = browser.get("/admin/projects").text
    for value in ("adds_only", "developer"):
        assert f'<option value="{value}" selected>' in text
    assert 'name="four_eyes" value="1" checked' in text
    refused = browser.post(f"/admin/projects/{number}", data={"approval": "sometimes", "approver_role": "viewer"})
    assert refused.status_code == 422 and "This role cannot approve plans." in refused.text
    browser.post(f"/admin/projects/{number}", data={"approval": "never", "approver_role": ""})
    db.session.rollback()
    project = db.session.scalars(select(Project)).one()
    assert (project.approval, project.approver_role, project.four_eyes) == (ApprovalPolicy.NEVER, None, False)


def test_the_runs_page_says_who_decides_and_has_the_buttons_that_work(workspace: Workspace, dana: User, olga: User, client_for: Make) -> None:
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    run = planned(workspace, dana)
    own, others = (client_for(user, "cookie").get(f"/runs/{run.id}").text for user in (dana, olga))
    for text in (own, others):
        assert "An operator or administrator other than dana decides." in text
    assert "Apply plan" in others and "Discard" in others
    assert "Apply plan" not in own and "Discard" in own


def test_forms_say_beforehand_that_a_plan_will_wait(workspace: Workspace, dana: User, client_for: Make) -> None:
    browser, warning = client_for(dana, "cookie"), "A plan of this project waits for approval."
    counts = {}
    for policy in ApprovalPolicy:
        rule(policy)
        counts[policy.value] = browser.get("/servers/web").text.count(warning)
    # Two forms that change and one that deletes.
    assert counts == {"never": 0, "adds_only": 3, "destroying": 1, "always": 3}


def test_the_create_form_says_beforehand_that_a_plan_will_wait(cluster: Cluster, dana: User, client_for: Make) -> None:
    with unit_of_work() as uow:
        uow.session.add(Project(name="default"))
    browser, warning = client_for(dana, "cookie"), "A plan of this project waits for approval."
    assert warning not in browser.get("/servers/new").text
    rule(ApprovalPolicy.ALWAYS, four_eyes=True)
    text = browser.get("/servers/new").text
    assert warning in text and "An operator or administrator other than dana decides." in text


# ---------------------------------------------------------------- the same decision twice
@pytest.mark.parametrize("decision", ["apply", "discard"])
def test_a_decision_sent_again_with_its_key_gets_the_first_ones_answer(workspace: Workspace, dana: User, client_for: Make, decision: str) -> None:
    run, client = planned(workspace, dana, mode=ApplyMode.CONFIRM), client_for(dana)
    answers = [client.post(f"/api/runs/{run.id}/{decision}", json={"comment": "go"}, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert [a.status_code for a in answers] == [202, 202]
    assert answers[0].json == answers[1].json and answers[0].headers["Location"] == answers[1].headers["Location"]
    assert client.post(f"/api/runs/{run.id}/{decision}", json={"comment": "go"}).status_code == 409


def test_a_cancel_sent_again_with_its_key_gets_the_first_ones_answer(workspace: Workspace, dana: User, client_for: Make) -> None:
    run, client = planned(workspace, dana), client_for(dana)
    answers = [client.post(f"/api/runs/{run.id}/cancel", headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert [(a.status_code, a.json["state"]) for a in answers] == [(202, "applying")] * 2
