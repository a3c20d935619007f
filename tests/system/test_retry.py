"""A run that failed is asked for once more: the same intent, checked anew, each with a link to the other."""

import os
import signal
from urllib.parse import parse_qs

import pytest

from tests.stack import Api, Stack, children, eventually


def those(stack: Stack, start: str) -> dict[str, tuple[int, str]]:
    """VMID and power state of the VMs whose names begin so; a name that is there twice fails."""
    found = [(vm["name"], (vmid, vm["status"])) for vmid, vm in stack.vms().items() if vm["name"].startswith(start)]
    assert len(found) == len(dict(found))
    return dict(found)


def clones(stack: Stack, vmid: int) -> int:
    """Return how often Proxmox was asked to clone to this VMID."""
    asked = [parse_qs(body) for method, path, body in stack.control("requests") if method == "POST" and path.endswith("/clone")]
    return sum(fields["newid"] == [str(vmid)] for fields in asked)


def deleted(stack: Stack, vmid: int) -> bool:
    return any(method == "DELETE" and path.rstrip("/").endswith(f"/qemu/{vmid}") for method, path, _ in stack.control("requests"))


def test_a_batch_of_which_some_failed_continues_with_the_missing_only(stack: Stack, admin: Api) -> None:
    stack.control("fail", method="POST", suffix="/clone", status=500, message="injected trouble", times=2)
    body = admin.create("partly", count=5)
    failed = admin.wait_run(body["run_id"], "errored")
    before = those(stack, "partly-")
    assert len(before) == 3
    stack.control("reset")

    answer = admin.post(f"/api/runs/{body['run_id']}/retry")
    assert answer.status == 202
    assert sorted(answer.json["servers"]) == sorted(set(body["servers"]) - set(before))
    assert admin.post(f"/api/runs/{body['run_id']}/retry").status == 409, "a second press finds nothing left"
    run = admin.wait_run(answer.json["run_id"], "applied")
    after = those(stack, "partly-")
    assert sorted(after) == sorted(body["servers"])
    assert before.items() <= after.items(), "what was there is what it was"
    assert {c["action"] for c in run["changes"]} == {"create"} and len(run["changes"]) == 2
    for name in body["servers"]:
        server = admin.get(f"/api/servers/{name}")
        assert (server["status"], server["vmid"]) == ("running", after[name][0])
    assert {e["name"]: e["detail"].get("other") for e in failed["events"]}.get("retried") is None
    again = admin.wait_run(admin.change(body["servers"][0], tags=["later"])["run_id"], "applied")
    assert [c["action"] for c in again["changes"]] == ["update"]


def test_a_half_made_server_is_finished_in_place(stack: Stack, admin: Api) -> None:
    stack.control("fail", method="PUT", suffix="/config", status=500, message="injected trouble")
    body = admin.create("halfway", cores=2, tags=["wanted"])
    admin.wait_run(body["run_id"], "errored")
    [(vmid, _)] = those(stack, "halfway").values()
    assert admin.get("/api/servers/halfway")["status"] == "failed"
    stack.control("reset")

    run = admin.wait_run(admin.post(f"/api/runs/{body['run_id']}/retry").json["run_id"], "applied")
    assert those(stack, "halfway") == {"halfway": (vmid, "running")}
    assert clones(stack, vmid) == 1 and not deleted(stack, vmid)
    assert "delete" not in {c["action"] for c in run["changes"]} and "replace" not in {c["action"] for c in run["changes"]}
    server = admin.get("/api/servers/halfway")
    assert (server["status"], server["cores"], server["tags"]) == ("running", 2, ["wanted"])
    [whole] = admin.made("whole", cores=2, tags=["wanted"])
    made, finished = (stack.vms()[admin.get(f"/api/servers/{name}")["vmid"]]["config"] for name in (whole, "halfway"))
    # The provider writes its "no ballooning" only into new VMs.
    assert set(made) - set(finished) <= {"balloon"}, "nothing else is missing that another server has"
    assert {k: made[k] for k in ("cores", "memory", "ciuser", "tags", "boot")} == {k: finished[k] for k in ("cores", "memory", "ciuser", "tags", "boot")}


def test_a_batch_that_was_stopped_at_once_is_finished_without_making_anything_twice(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=2)
    body = admin.create("cut-off", count=12)
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "a clone has begun")
    assert admin.post(f"/api/runs/{body['run_id']}/cancel").status == 202
    assert admin.post(f"/api/runs/{body['run_id']}/stop").status == 202
    admin.wait_run(body["run_id"], "canceled")
    before = those(stack, "cut-off-")
    assert 0 < len(before) < 12

    run = admin.wait_run(admin.post(f"/api/runs/{body['run_id']}/retry").json["run_id"], "applied", timeout_s=120)
    after = those(stack, "cut-off-")
    assert sorted(after) == sorted(body["servers"]) and {status for _, status in after.values()} == {"running"}
    assert {name: vmid for name, (vmid, _) in before.items()}.items() <= {name: vmid for name, (vmid, _) in after.items()}.items()
    assert [clones(stack, vmid) for vmid, _ in after.values()] == [1] * 12
    assert not [vmid for vmid, _ in after.values() if deleted(stack, vmid)]
    assert {c["action"] for c in run["changes"]} <= {"create", "update", "import"}
    replan = admin.wait_run(admin.change("cut-off-1", tags=["later"])["run_id"], "applied")
    assert [c["action"] for c in replan["changes"]] == ["update"]


def test_a_retry_that_dies_in_the_middle_goes_on_too(stack: Stack, admin: Api) -> None:
    stack.control("fail", method="POST", suffix="/clone", status=500, message="injected trouble", times=4)
    body = admin.create("twice-hit", count=4)
    admin.wait_run(body["run_id"], "errored")
    stack.control("reset")
    stack.control("time", clone_seconds=3)
    run_id = admin.post(f"/api/runs/{body['run_id']}/retry").json["run_id"]
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 60, "a clone has begun")
    runner = stack.runner_pid(run_id)
    terraform = children(children(runner)[0])[0]
    os.killpg(terraform, signal.SIGKILL)
    os.kill(runner, signal.SIGKILL)
    admin.wait_run(run_id, "applied", timeout_s=120)
    assert sorted(those(stack, "twice-hit-")) == sorted(body["servers"])


@pytest.mark.parametrize("moment", ["discarded", "canceled"])
def test_a_create_that_a_person_ended_is_asked_for_again_under_the_same_names(admin: Api, moment: str) -> None:
    body = admin.create(f"second-{moment}", count=2, apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    admin.post(f"/api/runs/{body['run_id']}/{'discard' if moment == 'discarded' else 'cancel'}")
    admin.wait_run(body["run_id"], moment)
    again = admin.post(f"/api/runs/{body['run_id']}/retry").json
    assert again["servers"] == body["servers"]
    admin.wait_run(again["run_id"], "planned")
    admin.post(f"/api/runs/{again['run_id']}/apply")
    admin.wait_run(again["run_id"], "applied")


def test_discarding_a_retry_leaves_what_was_half_made_on_the_list(stack: Stack, admin: Api) -> None:
    stack.control("fail", method="PUT", suffix="/config", status=500, message="injected trouble")
    body = admin.create("kept-half", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    admin.post(f"/api/runs/{body['run_id']}/apply")
    admin.wait_run(body["run_id"], "errored")
    stack.control("reset")
    again = admin.post(f"/api/runs/{body['run_id']}/retry").json["run_id"]
    admin.wait_run(again, "planned")
    admin.post(f"/api/runs/{again}/discard")
    assert admin.get("/api/servers/kept-half")["status"] == "failed"
    assert list(those(stack, "kept-half")) == ["kept-half"]
    admin.wait_run(admin.delete("kept-half")["run_id"], "applied")
    assert admin.post(f"/api/runs/{body['run_id']}/retry").status == 409, "it was deleted on purpose"


def test_a_name_that_somebody_took_meanwhile_is_not_taken_back(admin: Api) -> None:
    body = admin.create("wanted-name", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    admin.post(f"/api/runs/{body['run_id']}/discard")
    other = admin.create("wanted-name", apply="confirm")
    refused = admin.post(f"/api/runs/{body['run_id']}/retry")
    assert refused.status == 422 and refused.codes == {"name": "name_taken"}
    admin.wait_run(other["run_id"], "planned")
    admin.post(f"/api/runs/{other['run_id']}/discard")


def test_a_change_that_failed_is_tried_again(stack: Stack, admin: Api) -> None:
    [name] = admin.made("second-try")
    stack.control("fail", method="PUT", suffix="/config", status=500, message="injected trouble")
    first = admin.change(name, cores=2, tags=["kept"])["run_id"]
    failed = admin.wait_run(first, "errored")
    assert failed["error"]["code"]
    stack.control("reset")

    answer = admin.post(f"/api/runs/{first}/retry", **{"Idempotency-Key": "once"})
    assert answer.status == 202 and answer.json["servers"] == [name]
    again = admin.post(f"/api/runs/{first}/retry", **{"Idempotency-Key": "once"})
    assert again.json["run_id"] == answer.json["run_id"], "two presses with one key are one"
    done = admin.wait_run(answer.json["run_id"])
    assert done["state"] in ("applied", "planned_and_finished")
    server = admin.get(f"/api/servers/{name}")
    assert (server["cores"], server["tags"]) == (2, ["kept"])
    links = {e["name"]: e["detail"]["other"] for run in (admin.run(first), done) for e in run["events"] if e["name"] in ("retried", "retry_of")}
    assert links == {"retried": done["id"], "retry_of": first}


def test_a_deletion_that_was_discarded_is_asked_for_again_as_it_was(stack: Stack, admin: Api) -> None:
    [name] = admin.made("third-try")
    first = admin.delete(name, apply="confirm")["run_id"]
    admin.wait_run(first, "planned")
    admin.post(f"/api/runs/{first}/discard")
    second = admin.post(f"/api/runs/{first}/retry").json["run_id"]
    admin.wait_run(second, "planned")
    admin.post(f"/api/runs/{second}/apply")
    admin.wait_run(second, "applied")
    assert name not in [vm["name"] for vm in stack.vms().values()]


def test_what_cannot_be_tried_again_says_so(stack: Stack, admin: Api, developer: Api, viewer: Api) -> None:
    made = admin.create("no-retry")
    assert admin.post(f"/api/runs/{made['run_id']}/retry").status == 409, "it has not failed"
    run = admin.wait_run(made["run_id"], "applied")
    assert admin.post(f"/api/runs/{run['id']}/retry").status == 409, "there is nothing left to do"
    assert developer.post(f"/api/runs/{run['id']}/retry").status == 404
    waiting = admin.change("no-retry", tags=["x"], apply="confirm")["run_id"]
    admin.wait_run(waiting, "planned")
    admin.post(f"/api/runs/{waiting}/discard")
    assert viewer.post(f"/api/runs/{waiting}/retry").status == 403
    admin.delete("no-retry")
    admin.wait_run(admin.get("/api/runs?server=no-retry")["items"][0]["id"], "applied")
    assert admin.post(f"/api/runs/{waiting}/retry").status == 404, "its server is gone"
