"""A run's own deadline ends it with a message, and leaves nothing behind that nobody knows."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.stack import Api, Stack, alive, children, eventually, running


@pytest.fixture(scope="module")
def brief() -> Iterator[Stack]:
    with running(RUN_DEADLINE_S="10", RUN_DEADLINE_GRACE_S="6") as made:
        yield made


def known(stack: Stack, api: Api, start: str) -> set[str]:
    """Names of the VMs that begin so; each of them is on the list, and nothing else is."""
    there = {vm["name"] for vm in stack.vms().values() if vm["name"].startswith(start)}
    assert {s["name"] for s in api.get(f"/api/servers?limit=100&q={start}")["items"]} == there
    return there


def test_a_run_that_takes_too_long_finishes_what_it_began_and_says_why_it_ended(brief: Stack) -> None:
    api = brief.api()
    brief.control("time", clone_seconds=7)
    body = api.create("too-long", count=22)
    run = api.wait_run(body["run_id"], "errored", timeout_s=90)
    assert run["error"]["code"] == "run_deadline" and "10 seconds" in run["error"]["message"] and run["error"]["hint"]
    there = known(brief, api, "too-long-")
    assert 0 < len(there) < 22
    assert all(vm["status"] == "running" for vm in brief.vms().values() if vm["name"] in there)
    brief.control("time", clone_seconds=1)
    again = api.wait_run(api.post(f"/api/runs/{body['run_id']}/retry").json["run_id"], "applied", timeout_s=90)
    assert len(known(brief, api, "too-long-")) == 22 and len(again["servers"]) == 22 - len(there)


def test_a_terraform_that_does_not_even_stop_is_killed_and_what_it_began_is_taken_in(brief: Stack) -> None:
    api = brief.api()
    brief.control("time", clone_seconds=3)
    body = api.create("stuck", count=2)
    eventually(lambda: any(vm["lock"] == "clone" for vm in brief.vms().values()), 60, "a clone has begun")
    runner = brief.runner_pid(body["run_id"])
    terraform = children(children(runner)[0])[0]
    os.killpg(terraform, signal.SIGSTOP)
    run = api.wait_run(body["run_id"], "errored", timeout_s=90)
    assert run["error"]["code"] == "run_deadline"
    eventually(lambda: not alive(terraform) and not alive(runner), 20, "nothing of it is left over")
    assert known(brief, api, "stuck-") == {"stuck-1", "stuck-2"}
    brief.control("time", clone_seconds=0)
    api.wait_run(api.post(f"/api/runs/{body['run_id']}/retry").json["run_id"], "applied", timeout_s=90)
    assert {s["status"] for s in api.get("/api/servers?q=stuck-")["items"]} == {"running"}
