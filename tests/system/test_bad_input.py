"""Requests that cannot be fulfilled: a clear sentence for each fault, all of them together, and nothing reserved."""

import json
from typing import Any

import pytest

from tests.stack import Api, Stack

GOOD = {"name": "fine", "template": "ubuntu-24.04"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHfn0dCHFYOXXVFBkmKfEPhRl+0oFsyQy0PuTUcFTLiQ dana@laptop"


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"name": ""}, "name", "name_empty"),
        ({"name": "x" * 64}, "name", "name_too_long"),
        ({"name": "x" * 62, "count": 3}, "name", "name_too_long"),
        ({"name": "Not A Host"}, "name", "name_not_hostname"),
        ({"name": "<img src=x onerror=alert(1)>"}, "name", "name_not_hostname"),
        ({"name": "${jndi}"}, "name", "name_not_hostname"),
        ({"name": "서버"}, "name", "name_not_hostname"),
        ({"name": "legacy-db"}, "name", "name_taken_in_proxmox"),
        ({"name": 7}, "name", "string_type"),
        ({"count": 0}, "count", "greater_than_equal"),
        ({"count": 101}, "count", "less_than_equal"),
        ({"count": "ten"}, "count", "int_parsing"),
        ({"count": True}, "count", "int_type"),
        ({"count": 1.5}, "count", "int_from_float"),
        ({"template": "windows-95"}, "template", "template_unknown"),
        ({"preset": "gigantic"}, "preset", "preset_unknown"),
        ({"memory_mib": 256}, "memory_mib", "memory_below_template"),
        ({"memory_mib": 1 << 40}, "memory_mib", "less_than_equal"),
        ({"memory_mib": 3_000_000}, "memory_mib", "node_too_small_memory"),
        ({"cores": 300}, "cores", "node_too_small_cores"),
        ({"cores": 0}, "cores", "greater_than_equal"),
        ({"disks": [{"size_gib": 2}]}, "disks.0.size_gib", "disk_below_template"),
        ({"disks": [{"size_gib": 60000}]}, "disks.0.size_gib", "storage_full"),
        ({"disks": [{"size_gib": 20, "storage": "local"}]}, "disks.0.storage", "storage_not_images"),
        ({"disks": [{"size_gib": 20, "storage": "nowhere"}]}, "disks.0.storage", "storage_unknown"),
        ({"disks": []}, "disks", "too_short"),
        ({"networks": [{"network": "nowhere"}]}, "networks.0.network", "network_unknown"),
        ({"networks": [{"network": "servers", "ip": "10.99.0.9"}]}, "networks.0.ip", None),
        ({"networks": [{"network": "servers", "ip": "10.20.0.1"}]}, "networks.0.ip", "ip_is_gateway"),
        ({"networks": [{"network": "servers", "ip": "ten.twenty"}]}, "networks.0.ip", "ip_malformed"),
        ({"networks": [{"network": "servers", "ip": "10.20.0.77"}], "count": 2}, "networks.0.ip", "ip_for_one_only"),
        ({"node": "pve99"}, "node", "node_unknown"),
        ({"tags": ["Bad Tag"]}, "tags.0", "bad_tag"),
        ({"tags": ["<b>"]}, "tags.0", "bad_tag"),
        ({"ssh_keys": ["not a key"]}, "ssh_keys.0", "bad_ssh_key"),
        ({"username": "Robert'); drop"}, "username", "bad_username"),
        ({"description": "x" * 10_000}, "description", "text_too_long"),
        ({"description": "bell \x07"}, "description", "text_control_characters"),
        ({"apply": "maybe"}, "apply", "enum"),
        ({"start": "perhaps"}, "start", "bool_parsing"),
        ({"colour": "blue"}, "colour", "extra_forbidden"),
    ],
)  # fmt: skip
def test_a_fault_is_told_at_its_field(admin: Api, change: dict[str, Any], field: str, code: str | None) -> None:
    answer = admin.post("/api/servers/async", GOOD | change)
    assert answer.status == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert field in answer.codes, answer.text
    assert code is None or answer.codes[field] == code
    for error in answer.json["errors"]:
        assert error["message"] not in ("", error["code"]), f"no sentence for {error['code']}"
        assert "…" not in error["message"] or error["code"] == "bad_ssh_key", error["message"]


def test_all_faults_of_a_body_are_told_together(admin: Api) -> None:
    body = {"name": "legacy-db", "template": "nope", "count": "ten", "tags": ["A b"], "networks": [{"network": "servers", "ip": "10.20.0.1"}]}
    assert admin.post("/api/servers/async", body).codes == {
        "name": "name_taken_in_proxmox", "template": "template_unknown", "count": "int_parsing", "tags.0": "bad_tag",
        "networks.0.ip": "ip_is_gateway",
    }  # fmt: skip


def test_an_address_of_a_foreign_guest_is_taken(stack: Stack, admin: Api) -> None:
    foreign = [vm for vm in stack.vms().values() if vm["name"] == "legacy-db"][0]
    address = foreign["config"]["ipconfig0"].split("ip=")[1].split("/")[0]
    answer = admin.post("/api/servers/async", GOOD | {"networks": [{"network": "servers", "ip": address}]})
    assert answer.status == 422
    assert "networks.0.ip" in answer.codes


def test_free_text_of_any_kind_is_stored_as_it_is(admin: Api) -> None:
    text = "<img src=x onerror=alert(1)> ${path} %{if} {{7*7}} \"q\" 'a' \\ 한국어 🙂\nsecond line"
    body = admin.create("inert", description=text, ssh_keys=[KEY], apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    assert admin.get("/api/servers/inert")["description"] == text
    admin.post(f"/api/runs/{body['run_id']}/discard", {"comment": text})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{not json", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b"[]", 422, "not_an_object"),
        (b'{"name": NaN}', 400, "bad_json"),
        (b"", 422, "invalid_input"),
        (json.dumps({"name": "x", "pad": "y" * (1 << 20)}).encode(), 413, "body_too_large"),
        (b"[" * 50_000, 400, "bad_json"),
    ],
)
def test_a_body_that_is_none_is_refused(admin: Api, body: bytes, status: int, code: str) -> None:
    answer = admin.call("POST", "/api/servers/async", body)
    assert (answer.status, answer.json["code"]) == (status, code)


@pytest.mark.parametrize(("path", "token", "status"), [("/api/servers/async", "", 413), ("/api/servers/async", "tpm_wrong", 401), ("/api/nowhere", "", 404)])
def test_who_sends_far_too_much_is_answered_all_the_same(admin: Api, path: str, token: str, status: int) -> None:
    api = Api(admin.base, token or admin.token)
    for _ in range(10):  # nobody may lose the answer because he was still sending
        assert api.call("POST", path, b" " * (8 << 20)).status == status


def test_wrong_method_type_and_place_are_told(admin: Api) -> None:
    assert admin.call("PUT", "/api/servers/async", {}).status == 405
    wrong = admin.call("POST", "/api/servers/async", b"name=x", {"Content-Type": "text/plain"})
    assert (wrong.status, wrong.json["code"]) == (415, "unsupported_media_type")
    assert admin.call("GET", "/api/nowhere").json["code"] == "not_found"
    assert admin.call("GET", "/api/tasks/not-a-uuid").status == 404
    assert admin.call("GET", "/api/result/00000000-0000-0000-0000-000000000000").status == 404
    assert admin.call("GET", "/api/runs/999999").status == 404
    assert admin.call("GET", "/api/servers?cursor=garbage").status == 422


def test_calls_without_a_listed_body_take_an_empty_one_of_any_type(admin: Api) -> None:
    body = admin.create("bodyless", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    answer = admin.call("POST", f"/api/runs/{body['run_id']}/discard", b"", {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 202


def test_no_token_a_revoked_one_and_one_of_nobody_are_refused(stack: Stack, admin: Api) -> None:
    assert Api(stack.base, "tpm_nonsense").call("GET", "/api/servers").status == 401
    once = stack.api()
    listed = once.get("/api/tokens")["items"]
    newest = max(listed, key=lambda t: t["id"])
    assert once.call("DELETE", f"/api/tokens/{newest['id']}").status in (200, 204)
    refused = once.call("GET", "/api/servers")
    assert (refused.status, refused.json["code"]) == (401, "token_invalid")


def test_a_disk_cannot_shrink_vanish_or_move(admin: Api) -> None:
    if admin.call("GET", "/api/servers/fixed").status == 404:
        admin.made("fixed")
    assert admin.call("PATCH", "/api/servers/fixed", {"disks": [{"size_gib": 5}]}).codes["disks.0.size_gib"] == "disk_shrink"
    assert admin.call("PATCH", "/api/servers/fixed", {"disks": []}).status == 422
    assert admin.call("PATCH", "/api/servers/fixed", {"disks": [{"size_gib": 20, "storage": "ceph"}]}).codes["disks.0.storage"] == "disk_storage_fixed"
    assert admin.call("PATCH", "/api/servers/fixed", {}).codes == {"body": "nothing_to_change"}
    assert admin.call("PATCH", "/api/servers/fixed", {"name": "other"}).codes == {"name": "extra_forbidden"}


def test_an_offline_node_and_a_full_storage_are_told_before_anything_is_made(stack: Stack, admin: Api) -> None:
    stack.control("node", node="pve3", online=False)
    from tests.stack import eventually

    eventually(lambda: [n for n in admin.get("/api/nodes")["items"] if n["name"] == "pve3" and n["status"] != "online"], 30)
    assert admin.post("/api/servers/async", GOOD | {"node": "pve3"}).codes == {"node": "node_offline"}
    stack.control("reset")
    eventually(lambda: [n for n in admin.get("/api/nodes")["items"] if n["name"] == "pve3" and n["status"] == "online"], 30)
