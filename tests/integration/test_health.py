"""Health endpoints: open, honest, and without secrets."""

from tests.integration.conftest import Client


def test_healthz_answers_anybody(client_for):
    answer = client_for().get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_readyz_lists_every_check_and_is_ready_without_workers(client_for):
    answer = client_for().get("/readyz")
    checks = {check["name"]: check for check in answer.json["checks"]}
    assert answer.status_code == 200
    assert set(checks) == {"database", "keys", "redis", "broker", "workers", "terraform", "provider", "cluster"}
    assert checks["database"]["ok"] and checks["keys"]["ok"] and checks["redis"]["ok"] and checks["broker"]["ok"]
    assert not checks["workers"]["ok"] and not checks["cluster"]["ok"]


def test_metrics_are_for_loopback_or_a_token(client_for, make_user):
    stranger: Client = client_for()
    stranger.environ_base["REMOTE_ADDR"] = "203.0.113.9"
    assert stranger.get("/metrics", headers={"Accept": "application/json"}).status_code == 401
    through_proxy = client_for().get(
        "/metrics", headers={"X-Forwarded-For": "203.0.113.9", "Accept": "application/json"}
    )
    assert through_proxy.status_code == 401
    assert client_for(make_user("developer")).get("/metrics").status_code == 403
    text = client_for(make_user("viewer")).get("/metrics").text
    assert "tpm_outbox_rows 0.0" in text
    assert client_for().get("/metrics").status_code == 200
