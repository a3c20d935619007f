"""What a run says of itself while it works or waits: how far a clone is, that nothing moves, what it waits for and until when."""

import os
import signal
from typing import Any

from tests.stack import Api, Stack, children, eventually


def working(api: Api, run_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.run(run_id)["activity"]
    return found


def test_a_clone_tells_how_far_it_is_by_server(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=6)
    body = admin.create("copied", count=2)
    seen: dict[str, list[int]] = {name: [] for name in body["servers"]}

    def grown() -> bool:
        for entry in working(admin, body["run_id"]):
            if entry["step"] == "clone" and entry["percent"] is not None:
                seen[entry["server"]].append(entry["percent"])
        return all(len(set(percents)) > 2 for percents in seen.values())

    eventually(grown, 60, "both servers show how far they are")
    assert all(percents == sorted(percents) for percents in seen.values())
    run = admin.wait_run(body["run_id"], "applied")
    assert run["activity"] == []


def test_a_canceled_run_says_what_it_finishes(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=6)
    body = admin.create("finishing")
    eventually(lambda: any(e["percent"] for e in working(admin, body["run_id"])), 60, "the clone shows its percentage")
    admin.post(f"/api/runs/{body['run_id']}/cancel")
    [entry] = working(admin, body["run_id"])
    assert (entry["server"], entry["step"]) == ("finishing", "clone") and entry["percent"] < 100
    assert admin.wait_run(body["run_id"], "applied", "canceled")["state"] == "applied", "its only server was finished"


def test_a_run_of_which_nothing_moves_says_so_and_where_it_hangs(stack: Stack, admin: Api) -> None:
    assert admin.call("PATCH", "/api/settings", {"stall_after_s": 5}).status == 200
    stack.control("time", clone_seconds=3)
    try:
        body = admin.create("frozen", count=2)
        eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "a clone has begun")
        terraform = children(children(stack.runner_pid(body["run_id"]))[0])[0]
        os.killpg(terraform, signal.SIGSTOP)
        try:
            eventually(lambda: admin.run(body["run_id"])["stalled_at"], 40, "it is seen to hang")
        finally:
            os.killpg(terraform, signal.SIGCONT)
        run = admin.wait_run(body["run_id"], "applied", timeout_s=90)
    finally:
        admin.call("PATCH", "/api/settings", {"stall_after_s": 300})
    events = [e["name"] for e in run["events"]]
    assert events.index("stalled") < events.index("moving") < events.index("applied")
    assert run["stalled_at"] is None
    assert next(e for e in run["events"] if e["name"] == "stalled")["detail"]["state"] == "applying"


def test_a_run_in_line_says_behind_whom_it_stands_and_a_slow_clone_is_no_stall(stack: Stack, admin: Api) -> None:
    [name] = admin.made("in-line")
    for size in (2, 3, 4):  # so that it is known how long such a run takes
        admin.wait_run(admin.change(name, tags=[f"t{size}"])["run_id"], "applied")
    first = admin.change(name, tags=["first"], apply="confirm")["run_id"]
    admin.wait_run(first, "planned")
    second = admin.change(name, description="second")["run_id"]
    third = admin.change(name, description="third")["run_id"]
    told = admin.run(third)["waiting"]
    assert (told["code"], told["position"], told["run"], told["owner"]) == ("waiting_for_run", 2, first, "admin")
    assert told["expected_at"] is None, "nobody knows when a person decides"
    assert str(first) in told["message"]
    admin.post(f"/api/runs/{first}/apply")
    for run_id in (first, second, third):
        run = admin.wait_run(run_id, "applied")
        assert run["waiting"] is None


def test_a_run_that_waits_for_a_worker_says_when_one_should_be_free(stack: Stack, admin: Api) -> None:
    for number in range(3):
        admin.made(f"known-{number}")
    stack.control("time", clone_seconds=6)
    # Four workers; each run clones for six seconds.
    busy = [admin.create(f"busy-{number}")["run_id"] for number in range(4)]
    eventually(lambda: all(admin.run(r)["state"] == "applying" for r in busy), 60, "all workers are busy")
    late = admin.create("patient")["run_id"]
    told = eventually(lambda: admin.run(late)["waiting"], 10, "it waits")
    assert told["code"] == "waiting_for_worker" and told["run"] == busy[0] and told["position"] == 1
    assert told["expected_at"] is not None and told["owner"] == "admin"
    for run_id in [*busy, late]:
        admin.wait_run(run_id, "applied", timeout_s=90)
