"""Approval rules of projects through the whole chain: what goes on alone, what waits, and who lets it through."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack import Api, Stack, children, eventually

FREE = {"approval": "never", "approver_role": None, "four_eyes": False}


class Project:
    """The project that all servers belong to."""

    def __init__(self, admin: Api) -> None:
        self.admin = admin
        self.number = admin.get("/api/projects")["items"][0]["id"]

    def rule(self, **values: Any) -> None:
        answer = self.admin.call("PATCH", f"/api/projects/{self.number}", {**FREE, **values})
        assert answer.status == 200, answer.text


@pytest.fixture
def project(admin: Api) -> Iterator[Project]:
    made = Project(admin)
    yield made
    made.rule()


@pytest.fixture(scope="module")
def olga(stack: Stack) -> Api:
    return stack.user("olga-approves", "operator")[0]


def waits(api: Api, body: dict[str, Any], code: str) -> dict[str, Any]:
    """The run, once its plan waits for this reason."""
    run = api.wait_run(body["run_id"], "planned")
    assert run["needs_approval"]["code"] == code
    return run


def approve(api: Api, run: dict[str, Any]) -> dict[str, Any]:
    answer = api.post(f"/api/runs/{run['id']}/apply")
    assert answer.status == 202, answer.text
    return api.wait_run(run["id"], "applied")


def names(stack: Stack) -> set[str]:
    return {vm["name"] for vm in stack.vms().values()}


def test_never_lets_everything_that_was_asked_for_go_on_alone(project: Project, developer: Api) -> None:
    project.rule(approval="never")
    [name] = developer.made("rule-never")
    developer.wait_run(developer.change(name, cores=2)["run_id"], "applied")
    developer.wait_run(developer.delete(name)["run_id"], "applied")


def test_adds_only_lets_creations_through_and_has_changes_and_deletions_wait(stack: Stack, project: Project, developer: Api, olga: Api) -> None:
    project.rule(approval="adds_only")
    [name] = developer.made("rule-adds")
    run = waits(developer, developer.change(name, cores=2), "policy_adds_only")
    assert developer.post(f"/api/runs/{run['id']}/apply").json["code"] == "forbidden"
    approve(olga, run)
    assert developer.get(f"/api/servers/{name}")["cores"] == 2
    run = waits(developer, developer.delete(name), "policy_adds_only")
    assert name in names(stack)
    approve(olga, run)
    assert name not in names(stack)


def test_a_creation_that_is_tried_again_still_only_adds(stack: Stack, project: Project, developer: Api) -> None:
    project.rule(approval="adds_only")
    stack.control("fail", method="PUT", suffix="/config", status=500, message="injected trouble", times=1)
    failed = developer.wait_run(developer.create("rule-again")["run_id"], "errored")
    stack.control("reset")
    again = developer.post(f"/api/runs/{failed['id']}/retry")
    assert again.status == 202, again.text
    developer.wait_run(again.json["run_id"], "applied")


def test_destroying_has_only_deletions_wait(stack: Stack, project: Project, developer: Api, olga: Api) -> None:
    project.rule(approval="destroying")
    [name] = developer.made("rule-destroying")
    developer.wait_run(developer.change(name, tags=["kept"])["run_id"], "applied")
    run = waits(developer, developer.delete(name), "policy_destroying")
    assert name in names(stack)
    developer.post(f"/api/runs/{run['id']}/discard")
    developer.wait_run(run["id"], "discarded")
    assert name in names(stack)
    approve(olga, waits(developer, developer.delete(name), "policy_destroying"))
    assert name not in names(stack)


def test_always_has_even_a_creation_wait_and_shows_what_it_would_make(stack: Stack, project: Project, developer: Api, olga: Api) -> None:
    project.rule(approval="always", approver_role="operator")
    run = waits(developer, developer.create("rule-always", cores=2), "policy_always")
    assert "rule-always" not in names(stack)
    [change] = developer.get(f"/api/runs/{run['id']}")["changes"]
    assert next(a["after"] for a in change["attributes"] if a["path"] == "name") == "rule-always"
    assert developer.post(f"/api/runs/{run['id']}/apply").json["code"] == "not_approver"
    approve(olga, run)
    assert "rule-always" in names(stack)


def test_under_four_eyes_nobody_applies_what_he_asked_for_himself(stack: Stack, project: Project, admin: Api, olga: Api) -> None:
    project.rule(approval="always", four_eyes=True)
    run = waits(admin, admin.create("rule-four-eyes"), "policy_always")
    refused = admin.post(f"/api/runs/{run['id']}/apply")
    assert (refused.status, refused.json["code"]) == (403, "four_eyes")
    assert "rule-four-eyes" not in names(stack)
    approve(olga, run)
    assert "rule-four-eyes" in names(stack)


def kill_in_the_middle(stack: Stack, run_id: int) -> None:
    """Kill the run's runner and its Terraform once a clone has begun: what they made has to be taken in and finished."""
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "a clone has begun")
    runner = stack.runner_pid(run_id)
    os.killpg(children(children(runner)[0])[0], signal.SIGKILL)
    os.kill(runner, signal.SIGKILL)


def test_a_killed_runner_does_not_ask_again_for_what_was_approved(stack: Stack, project: Project, developer: Api, olga: Api) -> None:
    project.rule(approval="always", four_eyes=True)
    run = waits(developer, developer.create("rule-killed", count=3), "policy_always")
    stack.control("time", clone_seconds=4)
    assert olga.post(f"/api/runs/{run['id']}/apply").status == 202
    kill_in_the_middle(stack, run["id"])
    ended = developer.wait_run(run["id"], "applied", timeout_s=120)
    assert [e["name"] for e in ended["events"]].count("planned") == 1
    assert {"rule-killed-1", "rule-killed-2", "rule-killed-3"} <= names(stack)


def test_a_run_under_way_is_not_stopped_by_a_rule_made_meanwhile(stack: Stack, project: Project, developer: Api) -> None:
    stack.control("time", clone_seconds=4)
    body = developer.create("rule-late", count=2)
    eventually(lambda: developer.run(body["run_id"])["state"] == "applying", 60)
    project.rule(approval="always")
    kill_in_the_middle(stack, body["run_id"])
    ended = developer.wait_run(body["run_id"], "applied", timeout_s=120)
    assert "runner_lost" in [e["name"] for e in ended["events"]]
    assert {"rule-late-1", "rule-late-2"} <= names(stack)
