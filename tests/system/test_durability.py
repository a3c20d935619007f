"""Processes die; runs go on: the same run, every server exactly once, no hole in the log."""

import os
import signal

import pytest

from tests.chaos import points
from tests.stack import Api, Stack, alive, children, eventually


def in_mid_apply(stack: Stack, api: Api, name: str, count: int) -> tuple[int, list[str]]:
    """Begin a batch and return its run once Proxmox copies disks for it."""
    stack.control("time", clone_seconds=3)
    body = api.create(name, count=count)
    eventually(
        lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()) and "Creating..." in api.log(body["run_id"]), 60, "clones have begun"
    )
    return body["run_id"], body["servers"]


def exactly(stack: Stack, api: Api, names: list[str]) -> None:
    """Each name is one running VM, one row, and nothing of them is left over."""
    found = [vm["name"] for vm in stack.vms().values() if vm["name"] in names]
    assert sorted(found) == sorted(names)
    assert all(vm["status"] == "running" and not vm["lock"] for vm in stack.vms().values() if vm["name"] in names)
    for name in names:
        server = api.get(f"/api/servers/{name}")
        assert (server["status"], server["busy"]) == ("running", False)
    assert stack.sql("select count(*) from slot s join run r on r.id = s.run_id where r.finished_at is not null") == [(0,)]


def lines(api: Api, run_id: int) -> list[str]:
    return [line for line in api.log(run_id).splitlines() if "Creation complete" in line]


def test_killing_every_process_of_the_worker_does_not_disturb_a_run(stack: Stack, admin: Api) -> None:
    run_id, names = in_mid_apply(stack, admin, "calm", 20)
    worker = stack.info["pids"]["worker"]
    for pid in [worker, *children(worker)]:
        os.kill(pid, signal.SIGKILL)
    run = admin.wait_run(run_id, "applied")
    assert "runner_lost" not in [e["name"] for e in run["events"]]
    exactly(stack, admin, names)
    assert len(lines(admin, run_id)) == 20
    eventually(lambda: (p := stack.info["pids"]["worker"]) not in (None, worker) and alive(p), 30, "the worker is started again")


@pytest.mark.parametrize("victims", ["runner", "runner and terraform", "terraform"])
def test_a_dead_runner_is_noticed_and_its_run_goes_on(stack: Stack, admin: Api, victims: str) -> None:
    run_id, names = in_mid_apply(stack, admin, "resume-" + victims.replace(" ", "-"), 20 if victims == "runner and terraform" else 4)
    runner = stack.runner_pid(run_id)
    terraform = children(children(runner)[0])[0]
    if "runner" in victims:
        os.kill(runner, signal.SIGKILL)
    if "terraform" in victims:
        os.killpg(terraform, signal.SIGKILL)
    run = admin.wait_run(run_id, "applied", timeout_s=120)
    events = [e["name"] for e in run["events"]]
    assert ("runner_lost" in events) == ("runner" in victims)
    exactly(stack, admin, names)
    assert run["progress"] == {"done": len(names), "total": len(names)}
    replan = admin.wait_run(admin.change(names[0], tags=["after"])["run_id"], "applied")
    assert [c["action"] for c in replan["changes"]] == ["update"]


def test_a_plan_that_is_older_than_the_state_is_made_anew_and_applied_when_it_is_the_same(stack: Stack, admin: Api) -> None:
    [name] = admin.made("aged")
    run_id = admin.change(name, tags=["wanted"], apply="confirm")["run_id"]
    admin.wait_run(run_id, "planned")
    stack.sql_write(f"update saved_plan set state_serial = state_serial - 1 where run_id = {run_id}")
    admin.post(f"/api/runs/{run_id}/apply")
    run = admin.wait_run(run_id, "applied")
    assert "replanned" in [e["name"] for e in run["events"]]
    assert admin.get(f"/api/servers/{name}")["tags"] == ["wanted"]


def test_a_plan_made_anew_that_would_do_more_is_asked_for_again(stack: Stack, admin: Api) -> None:
    [name] = admin.made("aged-more")
    vmid = admin.get(f"/api/servers/{name}")["vmid"]
    run_id = admin.change(name, tags=["wanted"], apply="confirm")["run_id"]
    admin.wait_run(run_id, "planned")
    stack.control("set", vmid=vmid, config={"cores": 4})
    stack.sql_write(f"update saved_plan set state_serial = state_serial - 1 where run_id = {run_id}")
    admin.post(f"/api/runs/{run_id}/apply")
    run = admin.wait_run(run_id, "planned")
    assert run["needs_approval"]["code"] == "beyond_approved"
    assert int(stack.vms()[vmid]["config"]["cores"]) == 4, "not reverted"
    admin.post(f"/api/runs/{run_id}/discard")


def test_a_run_whose_terraform_dies_with_all_done_is_applied(stack: Stack, admin: Api) -> None:
    """Its last state was stored and what is left to plan is nothing: the runner that goes on began as a planner."""
    points.install(stack)
    with points.armed(stack, points.STATE) as stop:
        body = admin.create("all-done")
        assert stop.reached(60) is not None
        os.killpg(children(children(stack.runner_pid(body["run_id"]))[0])[0], signal.SIGKILL)
    run = admin.wait_run(body["run_id"], "applied", timeout_s=120)
    assert "again" in [e["name"] for e in run["events"]]
    exactly(stack, admin, body["servers"])


def test_a_killed_provider_is_replaced_and_the_run_goes_on(stack: Stack, admin: Api) -> None:
    run_id, names = in_mid_apply(stack, admin, "orphaned", 4)
    [provider] = children(children(children(stack.runner_pid(run_id))[0])[0])
    os.kill(provider, signal.SIGKILL)
    run = admin.wait_run(run_id, "applied", timeout_s=90)
    assert "again" in [e["name"] for e in run["events"]]
    exactly(stack, admin, names)


def test_a_hung_runner_is_killed_and_replaced(stack: Stack, admin: Api) -> None:
    run_id, names = in_mid_apply(stack, admin, "hung", 3)
    runner = stack.runner_pid(run_id)
    os.kill(runner, signal.SIGSTOP)
    run = admin.wait_run(run_id, "applied", timeout_s=120)
    assert not alive(runner)
    assert "killed_hung_runner" in [e["name"] for e in run["events"]]
    exactly(stack, admin, names)


def test_a_restarted_database_is_waited_for(stack: Stack, admin: Api) -> None:
    run_id, names = in_mid_apply(stack, admin, "patience", 3)
    os.kill(stack.info["pids"]["postgres"], signal.SIGKILL)
    eventually(lambda: admin.call("GET", f"/api/runs/{run_id}").status == 200, 60, "the database is back")
    run = admin.wait_run(run_id, "applied", timeout_s=120)
    assert run["state"] == "applied"
    exactly(stack, admin, names)


def test_flushing_redis_costs_no_run(stack: Stack, admin: Api) -> None:
    run_id, names = in_mid_apply(stack, admin, "flushed", 3)
    os.kill(stack.info["pids"]["valkey"], signal.SIGKILL)
    queued = admin.create("flushed-later")
    admin.wait_run(run_id, "applied")
    exactly(stack, admin, names)
    admin.wait_run(queued["run_id"], "applied", timeout_s=90)
    exactly(stack, admin, ["flushed-later"])
