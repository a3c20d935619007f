"""Stop now: the second press kills Terraform, and what there is by then is known, unfinished, and can be deleted."""

import contextlib
import os
import signal

from tests.chaos import points
from tests.stack import Api, Stack, children, eventually


def begun(stack: Stack, api: Api, name: str) -> tuple[int, list[str]]:
    """Begin a batch of clones that take long; returns its run and servers."""
    stack.control("time", clone_seconds=6)
    body = api.create(name, count=3)
    eventually(lambda: sum(vm["lock"] == "clone" and vm["name"] in body["servers"] for vm in stack.vms().values()) >= 2, 60, "clones have begun")
    return body["run_id"], body["servers"]


def test_stop_comes_after_cancel_and_needs_its_permission(stack: Stack, admin: Api, developer: Api) -> None:
    run_id, _ = begun(stack, developer, "first-cancel")
    assert admin.post(f"/api/runs/{run_id}/stop").status == 409
    assert developer.post(f"/api/runs/{run_id}/cancel").status == 202
    refused = developer.post(f"/api/runs/{run_id}/stop")
    assert (refused.status, refused.json["code"]) == (403, "forbidden") and "stop_now" in refused.text
    run = developer.wait_run(run_id, "canceled", "applied")
    assert "stopped" not in [e["name"] for e in run["events"]]
    assert admin.post(f"/api/runs/{run_id}/stop").status == 409


def test_what_terraform_was_killed_over_is_known_and_can_be_deleted(stack: Stack, admin: Api) -> None:
    run_id, names = begun(stack, admin, "cut-short")
    assert admin.post(f"/api/runs/{run_id}/cancel").status == 202
    assert admin.post(f"/api/runs/{run_id}/stop").status == 202
    assert admin.post(f"/api/runs/{run_id}/stop").status == 202, "a third press changes nothing"
    run = admin.wait_run(run_id, "canceled", timeout_s=60)
    events = [e["name"] for e in run["events"]]
    assert events.count("stop_requested") == events.count("stopped") == 1
    assert "Terraform was killed" in admin.log(run_id)

    ours = {vm["name"]: vm for vm in stack.vms().values() if vm["name"] in names}
    rows = {s["name"]: s for s in admin.get("/api/servers?q=cut-short")["items"]}
    assert ours and set(ours) == set(rows), "each VM that was begun is on the list, and nothing else"
    assert {row["status"] for row in rows.values()} == {"failed"}
    assert not any(vm["lock"] for vm in ours.values())
    assert stack.sql("select count(*) from slot") == [(0,)]

    for name in rows:
        deleted = admin.wait_run(admin.delete(name)["run_id"], "applied")
        assert [c["action"] for c in deleted["changes"]] == ["delete"]
    assert not [vm for vm in stack.vms().values() if vm["name"] in names]
    assert admin.get("/api/servers?q=cut-short")["items"] == []


def test_a_stopped_deletion_leaves_servers_that_can_be_deleted_again(stack: Stack, admin: Api) -> None:
    [name] = admin.made("half-gone")
    stack.control("network", latency=1.5)
    run_id = admin.delete(name)["run_id"]
    admin.wait_run(run_id, "applying", "applied")
    assert admin.post(f"/api/runs/{run_id}/cancel").status in (202, 409)
    admin.post(f"/api/runs/{run_id}/stop")
    stack.control("reset")
    run = admin.wait_run(run_id, "canceled", "applied")
    if run["state"] == "canceled":
        admin.wait_run(admin.delete(name)["run_id"], "applied")
    assert not [vm for vm in stack.vms().values() if vm["name"] == name]
    assert admin.call("GET", f"/api/servers/{name}").status == 404


def test_what_was_taken_over_half_made_and_not_finished_is_shown_as_unfinished(stack: Stack, admin: Api) -> None:
    """Terraform has such a server in its state from the first moment of the apply, whole as far as it can tell."""
    stack.control("time", clone_seconds=3)
    body = admin.create("taken-over", count=2)
    run_id, names = body["run_id"], body["servers"]
    eventually(lambda: sum(vm["lock"] == "clone" and vm["name"] in names for vm in stack.vms().values()) == 2, 60, "both clones have begun")
    with contextlib.closing(points.connect(stack)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("update slot set taken = 1 where run_id = %s", (run_id,))  # from here on one after the other
    stack.control("hold", method="PUT", suffix="/config", stage="before")
    os.killpg(children(children(stack.runner_pid(run_id))[0])[0], signal.SIGKILL)
    eventually(lambda: stack.control("held"), 60, "the first one is being finished")
    assert admin.post(f"/api/runs/{run_id}/cancel").status == 202
    eventually(lambda: "Stop requested" in admin.log(run_id), 30, "Terraform was told")
    stack.control("reset")
    admin.wait_run(run_id, "canceled", timeout_s=60)
    rows = {s["name"]: s["status"] for s in admin.get("/api/servers?q=taken-over")["items"]}
    assert sorted(rows) == sorted(names) and sorted(rows.values()) == ["failed", "running"]
    [half] = [name for name, status in rows.items() if status == "failed"]
    admin.wait_run(admin.delete(half)["run_id"], "applied")
    assert half not in {vm["name"] for vm in stack.vms().values()}


def test_a_deletion_that_is_cancelled_while_it_takes_its_server_in_is_canceled(stack: Stack, admin: Api) -> None:
    [name] = admin.made("unsaved")
    server = admin.get(f"/api/servers/{name}")
    # As after a create that never saved a state.
    [(workspace,)] = stack.sql(f"select workspace_id from server where name = '{name}'")
    stack.sql_write(f"delete from state_version where workspace_id = {workspace}; update workspace set state_ever = false where id = {workspace}")
    stack.control("hold", method="GET", suffix=f"/qemu/{server['vmid']}/config", stage="before")
    run_id = admin.delete(name)["run_id"]
    eventually(lambda: stack.control("held"), 30, "the run looks at the server")
    assert admin.post(f"/api/runs/{run_id}/cancel").json["state"] == "planning"
    eventually(lambda: "cancel_requested" in [e["name"] for e in admin.run(run_id)["events"]], 10)
    stack.control("let_go")
    run = admin.wait_run(run_id, "canceled")
    assert run["error"] is None
    assert admin.get(f"/api/servers/{name}")["status"] == "running"
    admin.wait_run(admin.delete(name)["run_id"], "applied")
