"""Connecting clusters: what "Test connection" says, and what may be changed and removed."""

import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from app.adapters import crypto
from app.models import AuditEvent, Cluster, Guest, Network, Preset, Template
from app.services import clusters, inventory
from app.services.uow import unit_of_work
from tests.fixtures.simulator import Simulator

Client = Any


@pytest.fixture
def admin(client_for: Callable[..., Client], make_user: Callable[..., Any]) -> Client:
    return client_for(make_user("administrator"))


def form(simulator: Simulator, **other: Any) -> dict[str, Any]:
    return {
        "name": "lab", "endpoint": simulator.url, "auth_id": simulator.token_id, "secret": simulator.token_secret,
        "ca_pem": simulator.ca_pem, **other,
    }  # fmt: skip


def tried(admin: Client, simulator: Simulator, **other: Any) -> tuple[str, str]:
    answer = admin.post("/api/clusters/test", json=form(simulator, **other))
    assert answer.status_code == 200, answer.json
    assert answer.json["success"] == (answer.json["code"] == "connection_ok")
    return answer.json["code"], answer.json["message"]


def fingerprint(simulator: Simulator) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(simulator.ca_pem)).hexdigest()


def test_a_good_connection_tells_release_and_nodes(admin: Client, simulator: Simulator) -> None:
    answer = admin.post("/api/clusters/test", json=form(simulator)).json
    assert answer["success"] and answer["nodes"] == ["pve1", "pve2", "pve3"] and answer["version"].startswith("9.")


def test_each_failure_has_its_own_sentence(admin: Client, simulator: Simulator) -> None:
    found = {
        "refused": tried(admin, simulator, endpoint="https://127.0.0.1:1"),
        "host": tried(admin, simulator, endpoint="https://nowhere.invalid:8006"),
        "tls": tried(admin, simulator, endpoint=simulator.control_url.replace("http:", "https:")),
        "issuer": tried(admin, simulator, ca_pem=None),
        "pin": tried(admin, simulator, ca_pem=None, fingerprint="00" * 32),
        "token": tried(admin, simulator, secret="00000000-0000-0000-0000-000000000000"),
        "password": tried(admin, simulator, auth_id="root@pam", secret="wrong"),
    }
    assert {k: code for k, (code, _) in found.items()} == {
        "refused": "proxmox_unreachable_refused", "host": "proxmox_unreachable_unknown_host",
        "tls": "proxmox_unreachable_not_tls", "issuer": "proxmox_certificate_unknown_issuer",
        "pin": "proxmox_certificate_fingerprint", "token": "proxmox_unauthorized",
        "password": "proxmox_unauthorized_password",
    }  # fmt: skip
    assert len({text for _, text in found.values()}) == len(found)
    assert all("_" not in text.split("https")[0] for _, text in found.values())


def test_a_missing_privilege_is_named(admin: Client, simulator: Simulator) -> None:
    simulator.control("fail", method="GET", suffix="/access/permissions", status=403,
                      message="Permission check failed (/access, Sys.Audit)", times=1)  # fmt: skip
    assert tried(admin, simulator)[0] == "proxmox_forbidden"


def test_a_password_and_a_pinned_certificate_work(admin: Client, simulator: Simulator) -> None:
    assert tried(admin, simulator, auth_id="root@pam", secret=simulator.password)[0] == "connection_ok"
    assert tried(admin, simulator, ca_pem=None, fingerprint=fingerprint(simulator))[0] == "connection_ok"


def test_a_connected_cluster_is_read_and_its_secret_never_told(admin: Client, simulator: Simulator, app: Any) -> None:
    made = admin.post("/api/clusters", json=form(simulator))
    assert made.status_code == 201
    inventory.poll_all()
    shown = admin.get(f"/api/clusters/{made.json['id']}")
    assert shown.json["status"] == "online" and simulator.token_secret not in shown.text
    with unit_of_work() as uow:
        row = uow.session.get_one(Cluster, made.json["id"])
        assert simulator.token_secret.encode() not in row.secret
        assert crypto.decrypt(row.secret).decode() == simulator.token_secret
        assert uow.session.query(Template).filter_by(offered=True).count() >= 3
        assert uow.session.query(AuditEvent).filter_by(action="cluster.create").count() == 1


def test_a_pinned_certificate_is_fetched_for_terraform(admin: Client, simulator: Simulator) -> None:
    made = admin.post("/api/clusters", json=form(simulator, ca_pem=None, fingerprint=fingerprint(simulator)))
    inventory.poll_all()
    with unit_of_work() as uow:
        row = uow.session.get_one(Cluster, made.json["id"])
        path = clusters.ca_file(row)
        assert row.status == "online" and path is not None
        assert path.read_text().strip() == simulator.ca_pem.strip() and path.stat().st_mode & 0o777 == 0o600


def test_all_faults_of_a_form_come_together(admin: Client, simulator: Simulator) -> None:
    bad = {"name": "", "endpoint": "http://x", "auth_id": "nobody", "ca_pem": "x", "vmid_low": 5}
    answer = admin.post("/api/clusters", json=bad)
    assert answer.status_code == 422
    assert {e["field"] for e in answer.json["errors"]} == {
        "name",
        "endpoint",
        "auth_id",
        "secret",
        "ca_pem",
        "vmid_low",
    }


def test_a_stored_secret_is_not_sent_to_another_host(admin: Client, cluster: Cluster) -> None:
    answer = admin.post(f"/api/clusters/{cluster.id}/test", json={"endpoint": "https://192.0.2.1:8006"})
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "secret"
    assert admin.post(f"/api/clusters/{cluster.id}/test").json["success"]


def test_the_vmid_range_cannot_cut_off_what_is_given_out(admin: Client, cluster: Cluster) -> None:
    from app.models import Reservation

    with unit_of_work() as uow:
        uow.session.add(Reservation(cluster_id=cluster.id, kind="vmid", value="300"))
    answer = admin.patch(f"/api/clusters/{cluster.id}", json={"vmid_low": 400})
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "vmid_low"
    assert admin.patch(f"/api/clusters/{cluster.id}", json={"vmid_low": 300, "vmid_high": 500}).json["vmid_high"] == 500


def test_a_cluster_with_servers_stays(admin: Client, cluster: Cluster, make_server: Callable[..., Any]) -> None:
    make_server()
    answer = admin.delete(f"/api/clusters/{cluster.id}")
    assert answer.status_code == 409 and answer.json["code"] == "cluster_in_use"


def test_a_removed_cluster_leaves_nothing_but_history(admin: Client, cluster: Cluster) -> None:
    assert admin.delete(f"/api/clusters/{cluster.id}").status_code == 200
    with unit_of_work() as uow:
        assert all(uow.session.query(t).count() == 0 for t in (Cluster, Guest, Network, Template))
    assert admin.get(f"/api/clusters/{cluster.id}").status_code == 404


def test_the_simulated_cluster_comes_with_networks_and_presets(cluster: Cluster, admin: Client) -> None:
    networks = admin.get("/api/networks").json["items"]
    assert len(networks) == 2 and all(n["usage"]["free"] >= 200 for n in networks)
    assert len(admin.get("/api/presets").json["items"]) == 5
    assert {t["name"] for t in admin.get("/api/templates").json["items"]} >= {"ubuntu-24.04", "debian-12", "rocky-9"}
    with unit_of_work() as uow:
        assert uow.session.query(Preset).count() == 5


def test_only_administrators_manage_clusters(
    client_for: Callable[..., Client], make_user: Callable[..., Any], simulator: Simulator
) -> None:
    operator = client_for(make_user("operator"))
    answer = operator.post("/api/clusters", json=form(simulator))
    assert answer.status_code == 403 and "manage_clusters" in answer.json["detail"]
