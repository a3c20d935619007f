"""A former state becomes the newest one again: nothing in Proxmox changes, and no server is made twice."""

import json
from typing import Any

from tests.stack import Api, Stack


def workspace_of(api: Api, name: str) -> tuple[str, list[dict[str, Any]]]:
    """The name of a server's workspace and its state versions, newest first."""
    number = api.get(f"/api/servers/{name}")["workspace"]
    workspace = next(w["name"] for w in api.get(f"/api/workspaces?q={name.rpartition('-')[0] or name}")["items"] if w["id"] == number)
    return workspace, api.get(f"/api/workspaces/{workspace}/states")["items"]


def roll_back(api: Api, workspace: str, version: dict[str, Any]) -> dict[str, Any]:
    answer = api.post(f"/api/workspaces/{workspace}/states/{version['id']}/rollback")
    assert answer.status == 202, answer.text
    return api.wait_run(answer.json["run_id"], "planned", "planned_and_finished", timeout_s=90)


def servers_in(api: Api, workspace: str) -> set[str]:
    newest = api.get(f"/api/workspaces/{workspace}/states")["items"][0]
    body = json.loads(api.call("GET", f"/api/workspaces/{workspace}/states/{newest['id']}/download").text)
    return {item["index_key"] for resource in body["resources"] for item in resource["instances"]}


def digests(stack: Stack, api: Api, names: list[str]) -> list[str]:
    return [stack.control("digest", vmid=api.get(f"/api/servers/{name}")["vmid"]) for name in names]


def test_an_older_state_of_the_same_servers_changes_nothing(stack: Stack, admin: Api) -> None:
    [name] = admin.made("rolled-one")
    admin.wait_run(admin.change(name, cores=2)["run_id"], "applied")
    workspace, versions = workspace_of(admin, name)
    before = digests(stack, admin, [name])
    run = roll_back(admin, workspace, versions[-1])
    assert run["state"] == "planned_and_finished", "Terraform reads how things are and finds nothing to do"
    newest = admin.get(f"/api/workspaces/{workspace}/states")["items"][0]
    assert newest["serial"] == versions[0]["serial"] + 1 and newest["run_id"] == run["id"]
    assert digests(stack, admin, [name]) == before
    assert admin.get(f"/api/servers/{name}")["cores"] == 2
    after = admin.wait_run(admin.change(name, tags=["after"])["run_id"], "applied")
    assert [c["action"] for c in after["changes"]] == ["update"]


def test_a_state_from_before_some_servers_takes_them_in_instead_of_making_them_again(stack: Stack, admin: Api) -> None:
    stack.refuse_next("injected trouble")
    body = admin.create("rolled", count=3)
    failed = admin.wait_run(body["run_id"], "errored")
    stack.control("reset")
    made = failed["servers"]
    admin.wait_run(admin.post(f"/api/runs/{body['run_id']}/retry").json["run_id"], "applied")
    workspace, versions = workspace_of(admin, body["servers"][0])
    few = next(v for v in versions if v["resources"] == 2)
    before = digests(stack, admin, made)
    run = roll_back(admin, workspace, few)
    assert run["state"] == "planned" and run["needs_approval"]["code"] == "state_rolled_back"
    assert {c["action"] for c in run["changes"]} <= {"import", "update"} and len(run["changes"]) == 1
    assert len(servers_in(admin, workspace)) == 2
    admin.post(f"/api/runs/{run['id']}/apply")
    admin.wait_run(run["id"], "applied")
    assert servers_in(admin, workspace) == set(made)
    assert len([vm for vm in stack.vms().values() if vm["name"] in made]) == 3
    assert digests(stack, admin, made) == before


def test_a_rolled_back_state_that_nobody_applied_makes_no_server_twice(stack: Stack, admin: Api) -> None:
    stack.refuse_next("injected trouble")
    body = admin.create("undone", count=2)
    admin.wait_run(body["run_id"], "errored")
    stack.control("reset")
    admin.wait_run(admin.post(f"/api/runs/{body['run_id']}/retry").json["run_id"], "applied")
    workspace, versions = workspace_of(admin, body["servers"][0])
    one = next(v for v in versions if v["resources"] == 1)
    run = roll_back(admin, workspace, one)
    admin.post(f"/api/runs/{run['id']}/discard")
    [lacking] = set(body["servers"]) - servers_in(admin, workspace)
    changed = admin.wait_run(admin.change(lacking, tags=["still-one"])["run_id"], "applied")
    assert {c["action"] for c in changed["changes"]} <= {"import", "update"}
    assert len([vm for vm in stack.vms().values() if vm["name"] == lacking]) == 1
    assert lacking in servers_in(admin, workspace)
    admin.wait_run(admin.delete(lacking)["run_id"], "applied")
    assert lacking not in [vm["name"] for vm in stack.vms().values()]


def test_what_cannot_be_rolled_back_says_so(admin: Api, developer: Api) -> None:
    [name] = admin.made("rolled-not")
    workspace, versions = workspace_of(admin, name)
    assert admin.post(f"/api/workspaces/{workspace}/states/{versions[0]['id']}/rollback").json["code"] == "state_is_newest"
    assert admin.post(f"/api/workspaces/{workspace}/states/999999/rollback").status == 404
    assert developer.post(f"/api/workspaces/{workspace}/states/{versions[-1]['id']}/rollback").status == 403
