"""Errors: one shape for scripts, a page for people, never a trace of the inside."""

import pytest
from flask import Blueprint, Flask, session
from sqlalchemy import text

from app import create_app
from app.config import get_settings
from app.errors import RunStateConflict
from app.extensions import db
from app.routes.access import open_to_all, signed_in
from app.streaming import events
from tests.integration.conftest import Client


def _probe() -> Blueprint:
    bp = Blueprint("probe", __name__)

    @bp.route("/api/probe/bug", endpoint="bug")
    @bp.route("/bug", endpoint="bug_page")
    @open_to_all("a test")
    def bug() -> str:
        raise RuntimeError("secret inside")

    @bp.get("/api/probe/state")
    @open_to_all("a test")
    def state() -> str:
        raise RunStateConflict(state="applied")

    @bp.get("/api/probe/range")
    @open_to_all("a test")
    def out_of_range() -> str:
        return str(db.session.scalar(text("select cast(:n as bigint)"), {"n": "9" * 30}))

    @bp.get("/api/probe/slow")
    @open_to_all("a test")
    def slow() -> str:
        db.session.execute(text("set statement_timeout = 10"))
        db.session.execute(text("select pg_sleep(5)"))
        return ""

    @bp.post("/form")
    @signed_in
    def form() -> str:
        session["x"] = 1
        return "taken"

    @bp.get("/api/probe/big")
    @open_to_all("a test")
    def big() -> dict[str, str]:
        return {"text": "a" * 5000}

    return bp


@pytest.fixture(scope="module")
def app(app: Flask) -> Flask:
    made = create_app(get_settings())
    made.register_blueprint(_probe())
    made.test_client_class = Client
    return made


def test_a_bug_shows_a_request_id_and_nothing_else(client_for):
    for path in ("/api/probe/bug", "/bug"):
        answer = client_for().get(path)
        assert answer.status_code == 500
        assert "secret inside" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["X-Request-ID"] in answer.text


def test_a_conflict_names_the_present_state(client_for):
    answer = client_for().get("/api/probe/state")
    assert (answer.status_code, answer.json["code"], answer.json["state"]) == (409, "run_state_conflict", "applied")


def test_unknown_addresses_wrong_methods_and_large_bodies_are_problems(client_for, make_user):
    client = client_for(make_user("administrator"))
    assert client.get("/api/nothing").json["code"] == "not_found"
    wrong = client.delete("/api/users")
    assert (wrong.status_code, wrong.json["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["Allow"]
    large = client.post("/api/users", data=b"x" * (1024 * 1024 + 1), content_type="application/json")
    assert (large.status_code, large.json["code"]) == (413, "body_too_large")


def test_a_number_that_no_row_can_have_is_no_server_error(client_for, make_user):
    assert client_for().get("/api/probe/range").status_code == 400
    assert client_for(make_user("administrator")).get(f"/api/users/{'9' * 30}").status_code in (400, 404)


def test_a_page_that_is_not_there_is_a_page(client_for):
    answer = client_for().get("/nothing")
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "<script>" not in answer.text


def test_htmx_gets_the_text_as_an_event_and_swaps_nothing(client_for):
    answer = client_for().get("/nothing", headers={"HX-Request": "true"})
    assert answer.headers["HX-Reswap"] == "none"
    assert "app:error" in answer.headers["HX-Trigger"]
    assert answer.headers["HX-Trigger"].isascii()


def test_errors_speak_the_readers_language_or_english(client_for):
    answer = client_for().get("/api/nothing", headers={"Accept-Language": "xx"})
    assert answer.json["detail"].startswith("There is nothing here")


def test_a_statement_that_takes_too_long_is_a_503_that_can_be_tried_again(client_for):
    answer = client_for().get("/api/probe/slow")
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_every_answer_carries_the_security_headers_and_large_ones_are_compressed(client_for):
    answer = client_for().get("/api/probe/big", headers={"Accept-Encoding": "gzip"})
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in client_for().get("/api/probe/big").headers


@pytest.fixture
def redis_down(app: Flask, valkey):
    """Valkey stopped, and started again with its data afterwards."""
    from tests.integration.conftest import until  # noqa: PLC0415

    valkey.stop()
    yield
    valkey.start()
    until(valkey.ready)
    events.after_fork()


def test_without_redis_tokens_work_and_browsers_get_a_503_that_keeps_their_input(client_for, make_user, request):
    user = make_user("administrator")
    script, browser = client_for(user), client_for(user, "cookie")
    request.getfixturevalue("redis_down")
    assert script.get("/api/users").status_code == 200
    assert script.post("/api/users", json={"username": "carol", "role": "viewer"}).status_code == 201
    assert client_for().get("/healthz").status_code == 200
    ready = client_for().get("/readyz")
    assert ready.status_code == 200
    assert [c["name"] for c in ready.json["checks"] if not c["ok"]][:2] == ["redis", "broker"]
    refused = browser.post("/form", data={"name": 'web-<1>"', "password": "typed-s3cret", "csrf_token": "t"})
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "web-&lt;1&gt;" in refused.text
    assert "typed-s3cret" not in refused.text
    assert browser.get("/api/users").json["code"] == "session_store_unavailable"


def test_without_the_database_everything_is_a_503_and_comes_back_by_itself(client_for, make_user, postgres):
    from tests.integration.conftest import until  # noqa: PLC0415

    client = client_for(make_user("administrator"))
    assert client.get("/api/users").status_code == 200
    db.session.remove()
    postgres.stop()
    try:
        answer = client.get("/api/users")
        assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert client_for().get("/readyz").status_code == 503
        assert client_for().get("/healthz").status_code == 200
    finally:
        postgres.start()
        until(postgres.ready)
    assert client.get("/api/users").status_code == 200


def test_connections_that_died_while_idle_are_replaced_before_anybody_notices(client_for, make_user):
    client = client_for(make_user("administrator"))
    assert client.get("/api/users").status_code == 200
    db.session.remove()
    with db.engine.connect() as conn:
        conn.execute(text("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"))
    assert client.get("/api/users").status_code == 200
