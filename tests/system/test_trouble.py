"""Trouble around a run: what vanished, ran out, or does not answer is said in a sentence, and nothing stays reserved."""

import datetime as dt
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.chaos.faults_surroundings import fill, small_disk
from tests.stack import Answer, Api, Stack, eventually, running


def nothing_is_held(stack: Stack, run_id: int) -> None:
    """No reservation of the run's servers is left, but for those that rest in quarantine."""
    held = stack.sql(
        f"select r.kind, r.value from reservation r join server s on s.id = r.server_id join run u on u.workspace_id = s.workspace_id"
        f" where u.id = {run_id} and r.quarantined_until is null"
    )
    assert held == []


def online(admin: Api) -> bool:
    return bool(admin.get("/api/clusters")["items"][0]["status"] == "online")


# ---- what was there when the page was opened
def test_a_template_that_is_no_longer_offered_is_refused_by_name(admin: Api) -> None:
    template = next(t for t in admin.get("/api/templates")["items"] if t["name"] == "rocky-9")
    assert admin.call("PATCH", f"/api/templates/{template['id']}", {"offered": False}).status == 200
    try:
        assert admin.post("/api/servers/async", {"name": "late", "template": "rocky-9"}).codes == {"template": "template_gone"}
    finally:
        assert admin.call("PATCH", f"/api/templates/{template['id']}", {"offered": True}).status == 200


def test_a_template_that_vanished_from_proxmox_ends_the_run_before_anything_is_made(stack: Stack, admin: Api) -> None:
    stack.control("create_foreign", vmid=9700, name="short-lived", node="pve1", template=True)
    offered = lambda: [t for t in admin.get("/api/templates")["items"] if t["name"] == "short-lived"]  # noqa: E731
    eventually(offered, 40, "the inventory has the new template")
    body = admin.create("orphan", template="short-lived", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    stack.control("delete", vmid=9700)
    admin.post(f"/api/runs/{body['run_id']}/apply")
    run = admin.wait_run(body["run_id"], "errored")
    assert run["error"]["code"] == "template_missing"
    assert run["error"]["hint"]
    assert not [vm for vm in stack.vms().values() if vm["name"] == "orphan"]
    nothing_is_held(stack, body["run_id"])
    eventually(lambda: not offered(), 40, "the inventory has noticed")


def test_a_name_that_a_server_has_is_taken_also_for_one_of_a_batch(admin: Api) -> None:
    body = admin.create("owned-2", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    for wanted in ({"name": "owned-2"}, {"name": "owned", "count": 3}):
        refused = admin.post("/api/servers/async", {"template": "debian-12", **wanted})
        assert refused.codes == {"name": "name_taken"}
        assert "owned-2" in refused.text
    admin.post(f"/api/runs/{body['run_id']}/discard")


# ---- what runs out
def test_an_exhausted_pool_is_told_with_its_figures(admin: Api) -> None:
    made = admin.post("/api/networks", {
        "name": "tiny", "bridge": "vmbr0", "vlan": 77, "cidr": "10.77.0.0/29", "gateway": "10.77.0.1", "range_low": "10.77.0.2", "range_high": "10.77.0.3",
    })  # fmt: skip
    assert made.status == 201, made.text
    wanted = {"name": "crowd", "template": "debian-12", "apply": "confirm", "networks": [{"network": "tiny"}]}
    refused = admin.post("/api/servers/async", wanted | {"count": 3})
    assert refused.codes == {"networks.0.network": "addresses_exhausted"}
    assert "2" in refused.json["errors"][0]["message"]
    body = admin.create("crowd", template="debian-12", apply="confirm", count=2, networks=[{"network": "tiny"}])
    assert admin.post("/api/servers/async", wanted | {"name": "one-more"}).codes == {"networks.0.network": "addresses_exhausted"}
    admin.wait_run(body["run_id"], "planned")
    admin.post(f"/api/runs/{body['run_id']}/discard")
    again = admin.create("crowd", template="debian-12", apply="confirm", count=2, networks=[{"network": "tiny"}])
    admin.wait_run(again["run_id"], "planned")
    admin.post(f"/api/runs/{again['run_id']}/discard")
    assert admin.call("DELETE", f"/api/networks/{made.json['id']}").status == 200


# ---- what does not answer
def test_a_node_that_went_offline_after_the_plan_ends_the_run_and_frees_what_was_reserved(stack: Stack, admin: Api) -> None:
    body = admin.create("stranded", apply="confirm", node="pve3")
    admin.wait_run(body["run_id"], "planned")
    stack.control("node", node="pve3", online=False)
    admin.post(f"/api/runs/{body['run_id']}/apply")
    run = admin.wait_run(body["run_id"], "errored")
    assert run["error"]["code"] == "node_offline"
    assert "pve3" in run["error"]["message"]
    assert run["error"]["hint"]
    assert admin.call("GET", "/api/servers/stranded").status == 404
    nothing_is_held(stack, body["run_id"])
    stack.control("reset")
    eventually(lambda: all(n["status"] == "online" for n in admin.get("/api/nodes")["items"]), 40, "the node is seen again")


def another_authority() -> str:
    """The certificate of an authority that signed nothing here, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another authority")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_of_somebody_else_ends_the_run_with_the_reason(stack: Stack, admin: Api) -> None:
    cluster = admin.get("/api/clusters")["items"][0]
    good = Path(stack.info["simulator"]["ca_file"]).read_text()
    assert admin.call("PATCH", f"/api/clusters/{cluster['id']}", {"ca_pem": another_authority()}).status == 200
    try:
        body = admin.create("doubted", apply="confirm")
        run = admin.wait_run(body["run_id"], "errored")
        assert run["error"]["code"].startswith("proxmox_certificate")
        assert "…" not in run["error"]["message"]
        assert run["error"]["hint"]
        nothing_is_held(stack, body["run_id"])
    finally:
        assert admin.call("PATCH", f"/api/clusters/{cluster['id']}", {"ca_pem": good}).status == 200
    eventually(lambda: online(admin), 40, "the cluster is trusted again")


def test_two_people_approving_at_once_start_one_apply(stack: Stack, admin: Api) -> None:
    other = stack.user("olaf", "operator")[0]
    body = admin.create("pressed", apply="confirm")
    admin.wait_run(body["run_id"], "planned")
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda who=who: answers.append(who.post(f"/api/runs/{body['run_id']}/apply"))) for who in (admin, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status for a in answers) == [202, 409]
    late = next(a for a in answers if a.status == 409)
    assert late.json["state"] in ("apply_queued", "applying", "applied")
    run = admin.wait_run(body["run_id"], "applied")
    assert [e["name"] for e in run["events"]].count("applying") == 1


def test_without_a_terraform_readiness_form_and_run_say_so() -> None:
    with running(TERRAFORM_BIN="/nowhere/terraform") as stack:
        admin = stack.api()
        ready = admin.call("GET", "/readyz")
        checks = {c["name"]: c for c in ready.json["checks"]}
        assert (ready.status, checks["terraform"]["ok"], checks["provider"]["ok"]) == (200, False, False)
        assert "/nowhere/terraform" in checks["terraform"]["detail"]
        eventually(lambda: admin.get("/api/templates")["items"], 40, "the inventory was read")
        form = admin.call("GET", "/servers/new")
        assert form.status == 200
        assert "Terraform cannot be started." in form.text
        body = admin.create("never")
        run = admin.wait_run(body["run_id"], "errored")
        assert run["error"]["code"] == "terraform_missing"
        assert "TERRAFORM_BIN" in run["error"]["hint"]
        assert admin.call("GET", "/api/servers/never").status == 404
        nothing_is_held(stack, body["run_id"])


def test_a_connection_lost_at_the_very_end_makes_no_finished_server_look_unfinished(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=2)
    body = admin.create("last-look", count=2)
    vmids = [admin.get(f"/api/servers/{name}")["vmid"] for name in body["servers"]]
    stack.control("fail", method="PUT", suffix=f"/qemu/{vmids[1]}/config", status=500, message="injected trouble")

    def over() -> bool:
        log = admin.log(body["run_id"])
        return "Creation complete" in log and "Creation errored" in log

    eventually(over, 60, "one server is made, the other is not")
    stack.control("network", drop_rate=1.0)
    try:
        eventually(lambda: admin.run(body["run_id"])["state"] == "errored" or stack.sql("select pg_sleep(3)"), 30)
    finally:
        stack.control("reset")
    admin.wait_run(body["run_id"], "errored")
    assert [admin.get(f"/api/servers/{name}")["status"] for name in body["servers"]] == ["running", "failed"]


def test_a_full_work_directory_is_named_as_the_reason() -> None:
    with running() as stack, small_disk(stack) as small:
        if not small:
            pytest.skip("a small disk can only be mounted by root")
        admin = stack.api()
        full = fill(stack.data_dir / "runs")
        run = admin.wait_run(admin.create("no-room")["run_id"], "errored")
        assert run["error"]["code"] == "work_disk_full"
        nothing_is_held(stack, run["id"])
        full.unlink()
        admin.made("room-again")
        assert {"no-room", "room-again"} & {vm["name"] for vm in stack.vms().values()} == {"room-again"}


def test_a_restart_that_was_lost_is_made_up_for_and_the_server_runs_as_asked(stack: Stack, admin: Api) -> None:
    """Proxmox shows what is pending as if it were so: Terraform finds nothing to do, and the server would run as before."""
    [name] = admin.made("lost-restart")
    vmid = admin.get(f"/api/servers/{name}")["vmid"]
    stack.control("fail", method="POST", suffix="/status/shutdown", status=502, message="Bad Gateway", times=1)
    run = admin.wait_run(admin.change(name, cores=2)["run_id"], "applied", timeout_s=90)
    assert "waits for a restart" in admin.log(run["id"])
    vm = stack.vms()[vmid]
    assert (vm["status"], int(vm["config"]["cores"]), vm.get("pending") or {}) == ("running", 2, {})
    assert admin.get(f"/api/servers/{name}")["cores"] == 2
