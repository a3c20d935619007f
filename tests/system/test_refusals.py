"""What was changed behind our back between plan and apply, or carries somebody else's mark, is refused and stays as it is."""

import hashlib
import json
from typing import Any

import psycopg2
import pytest

from tests.stack import Api, Stack
from tests.system.test_collisions import moved_and_made, reserved
from tests.system.test_trouble import nothing_is_held

OTHER_INSTALLATION = "0" * 32


def write(stack: Stack, sql: str, *values: Any) -> None:
    """Change the instance's database behind its back."""
    url = json.loads((stack.data_dir / "instance.json").read_text())["database_url"].replace("+psycopg2", "")
    connection = psycopg2.connect(url, connect_timeout=3)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            assert cursor.rowcount == 1
    finally:
        connection.close()


def marker(stack: Stack, name: str) -> str:
    [(found,)] = stack.sql(f"select marker from server where name = '{name}' and deleted_at is null")
    return str(found)


def forged(mark: str) -> str:
    """The right words of another installation."""
    product, _own, workspace, server = mark.split("/")
    return f"{product}/{OTHER_INSTALLATION}/{workspace}/{server}"


def states(stack: Stack, name: str) -> list[tuple[Any, ...]]:
    return stack.sql(
        f"select v.serial, v.sha256 from state_version v join server s on s.workspace_id = v.workspace_id where s.name = '{name}' order by v.id"
    )


# ---------------------------------------------------------------- a stored plan that is another one now
TAMPERED = {
    "hash": ("update saved_plan set sha256 = repeat('0', 64) where run_id = %s", "plan_changed"),
    "plan of another run": ("update saved_plan set body = (select body from saved_plan where run_id <> %s order by id desc limit 1) where run_id = %s", "plan_changed"),
    "bytes": ("update saved_plan set body = set_byte(body, 40, get_byte(body, 40) # 3) where run_id = %s", "undecryptable"),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(TAMPERED))
def test_a_plan_that_is_not_the_one_that_was_approved_is_not_applied(stack: Stack, admin: Api, what: str) -> None:
    sql, code = TAMPERED[what]
    name = "tampered-" + what.replace(" ", "-")
    other = admin.create(f"{name}-other", apply="confirm")
    body = admin.create(name, apply="confirm")
    for one in (other, body):
        admin.wait_run(one["run_id"], "planned")
    before = set(stack.vms())
    write(stack, sql, *[body["run_id"]] * sql.count("%s"))
    admin.post(f"/api/runs/{body['run_id']}/apply")
    run = admin.wait_run(body["run_id"], "errored")
    assert run["error"]["code"] == code and run["error"]["message"] not in ("", code)
    assert set(stack.vms()) == before, "nothing was made"
    assert stack.sql(f"select count(*) from state_version where run_id = {body['run_id']}") == [(0,)]
    assert admin.call("GET", f"/api/servers/{name}").status == 404
    nothing_is_held(stack, body["run_id"])
    admin.post(f"/api/runs/{other['run_id']}/discard")


# ---------------------------------------------------------------- a mark that only looks like ours
def test_a_vm_with_the_mark_of_another_installation_is_somebody_elses(stack: Stack, admin: Api) -> None:
    [name] = admin.made("forged")
    vmid, mark = reserved(admin, name), marker(stack, name)
    stack.control("delete", vmid=vmid)
    stack.control("create_foreign", vmid=vmid, name=name, node="pve1", running=True, config={"memory": "512", "description": forged(mark)})
    digest = stack.control("digest", vmid=vmid)

    for ask in (admin.change(name, tags=["mine"]), admin.delete(name)):
        run = admin.wait_run(ask["run_id"], "errored")
        assert run["error"]["code"] == "server_replaced"
    answer = admin.post(f"/api/servers/{name}/stop")
    assert answer.status == 202, answer.text
    task = admin.wait_task(answer.json["task_id"])
    assert (task["status"], task["error"]["code"]) == ("failed", "not_ours")
    assert stack.control("digest", vmid=vmid) == digest, "neither changed, stopped nor deleted"
    stack.control("delete", vmid=vmid)


def test_the_mark_of_a_server_whose_name_begins_alike_is_not_its_own(stack: Stack, admin: Api) -> None:
    [name] = admin.made("alike")
    vmid, mark = reserved(admin, name), marker(stack, name)
    stack.control("delete", vmid=vmid)
    stack.control("create_foreign", vmid=vmid, name=f"{name}-2", node="pve1", running=True, config={"memory": "512", "description": f"{mark}-2"})
    digest = stack.control("digest", vmid=vmid)
    task = admin.wait_task(admin.post(f"/api/servers/{name}/stop").json["task_id"])
    assert (task["status"], task["error"]["code"]) == ("failed", "not_ours")
    assert stack.control("digest", vmid=vmid) == digest
    stack.control("delete", vmid=vmid)


def test_a_forged_mark_on_a_reserved_vmid_is_not_adopted(stack: Stack, admin: Api) -> None:
    body = admin.create("forged-early", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    vmid, mark = reserved(admin, "forged-early"), marker(stack, "forged-early")
    stack.control("create_foreign", vmid=vmid, name="theirs", node="pve1", running=True, config={"memory": "512", "description": forged(mark)})
    digest = str(stack.control("digest", vmid=vmid))
    admin.post(f"/api/runs/{body['run_id']}/apply")
    moved_and_made(stack, admin, body["run_id"], "forged-early", vmid, digest)


# ---------------------------------------------------------------- states of others
def test_an_older_terraform_than_the_states_changes_nothing_and_a_newer_one_goes_on(stack: Stack, admin: Api) -> None:
    [name] = admin.made("versions")
    before, vms = states(stack, name), stack.vms()[reserved(admin, name)]
    version = "update workspace set terraform_version = %s where id = (select workspace_id from server where name = %s)"
    write(stack, version, "99.0.0", name)
    run = admin.wait_run(admin.change(name, tags=["late"])["run_id"], "errored")
    assert run["error"]["code"] == "terraform_too_old" and "99.0.0" in run["error"]["message"]
    assert run["error"]["hint"]
    assert (states(stack, name), stack.vms()[reserved(admin, name)]["config"]) == (before, vms["config"])

    write(stack, version, "1.0.0", name)
    admin.wait_run(admin.change(name, tags=["late"])["run_id"], "applied")
    assert stack.sql(f"select terraform_version from workspace where id = (select workspace_id from server where name = '{name}')") != [("1.0.0",)]


def test_a_left_over_state_of_another_lineage_is_kept_aside_and_shown(stack: Stack, admin: Api) -> None:
    body = admin.create("left-over", apply="confirm")
    run_id = body["run_id"]
    admin.wait_run(run_id, "planned")
    left = json.dumps({"version": 4, "serial": 9999, "lineage": "somebody-elses", "terraform_version": "1.0.0", "resources": []}).encode()
    folder = stack.data_dir / "runs" / str(run_id)
    (folder / "errored.tfstate").write_bytes(left)
    admin.post(f"/api/runs/{run_id}/apply")
    run = admin.wait_run(run_id, "applied")

    [event] = [e for e in run["events"] if e["name"] == "state_refused"]
    [kept] = list(folder.glob("errored*"))
    assert (kept.read_bytes(), kept.stat().st_mode & 0o077) == (left, 0)
    assert event["detail"]["kept"] == f"runs/{run_id}/{kept.name}"
    page = admin.call("GET", f"/runs/{run_id}").text
    assert "A left-over state was kept aside" in page and f"runs/{run_id}/{kept.name}" in page
    sha = hashlib.sha256(left).hexdigest()
    assert all(serial < 9999 and found != sha for serial, found in states(stack, "left-over")), "nothing was overwritten"
    again = admin.wait_run(admin.change("left-over", tags=["goes-on"])["run_id"], "applied")
    assert [c["action"] for c in again["changes"]] == ["update"]
