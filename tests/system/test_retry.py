"""A run that failed is asked for once more: the same intent, checked anew, each with a link to the other."""

from tests.stack import Api, Stack


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
    assert admin.post(f"/api/runs/{run['id']}/retry").status == 409, "a create goes through its form"
    assert developer.post(f"/api/runs/{run['id']}/retry").status == 404
    waiting = admin.change("no-retry", tags=["x"], apply="confirm")["run_id"]
    admin.wait_run(waiting, "planned")
    admin.post(f"/api/runs/{waiting}/discard")
    assert viewer.post(f"/api/runs/{waiting}/retry").status == 403
    admin.delete("no-retry")
    admin.wait_run(admin.get("/api/runs?server=no-retry")["items"][0]["id"], "applied")
    assert admin.post(f"/api/runs/{waiting}/retry").status == 404, "its server is gone"
