"""Every route says who may call it, and the guard holds them to it."""

import json

import pytest
from flask import Blueprint, Flask
from pydantic import BaseModel, Field

from app import create_app
from app.config import get_settings
from app.domain.permissions import Permission, Role, allows
from app.routes import access, parse
from app.routes.access import Access, current_actor, declared, needs, open_to_all, safe_next, signed_in
from tests.integration.conftest import Client


class Wanted(BaseModel):
    name: str = Field(max_length=8)
    count: int = Field(1, ge=1)


def _probe() -> Blueprint:
    bp = Blueprint("probe", __name__)

    @bp.route("/api/probe/create", methods=["GET", "POST"])
    @needs(Permission.CREATE)
    def create() -> dict[str, object]:
        return {"who": current_actor().username, "address": current_actor().address}

    @bp.post("/api/probe/body")
    @signed_in
    def body() -> dict[str, object]:
        return access.body(Wanted).model_dump()

    @bp.post("/api/probe/optional")
    @signed_in
    def optional() -> dict[str, object]:
        return parse.json_body(optional=True)

    @bp.post("/api/probe/nothing")
    @signed_in
    def nothing() -> dict[str, object]:
        return {}

    @bp.route("/page", methods=["GET", "POST"])
    @signed_in
    def page() -> str:
        return "page"

    @bp.get("/api/probe/open")
    @open_to_all("a test")
    def opened() -> dict[str, object]:
        return {}

    @bp.get("/api/probe/undeclared")
    def undeclared() -> dict[str, object]:
        return {"leak": True}

    return bp


@pytest.fixture(scope="module")
def app(app: Flask) -> Flask:
    made = create_app(get_settings())
    made.register_blueprint(_probe())
    made.test_client_class = Client
    return made


def test_every_route_of_the_application_declares_who_may_call_it():
    app = create_app(get_settings())
    with app.app_context():
        silent = [rule.rule for rule in app.url_map.iter_rules() if not isinstance(declared(rule.endpoint), Access)]
    assert silent == []


def test_an_undeclared_view_is_refused_even_to_an_administrator(client_for, make_user):
    answer = client_for(make_user("administrator")).get("/api/probe/undeclared")
    assert answer.status_code == 500
    assert "leak" not in answer.text


@pytest.mark.parametrize("role", list(Role))
def test_a_permission_opens_the_route_for_its_roles_only(client_for, make_user, role):
    answer = client_for(make_user(role)).post("/api/probe/create")
    if allows(role, Permission.CREATE):
        assert answer.status_code == 200
    else:
        assert answer.status_code == 403
        assert answer.json["permission"] == "create"
        assert "create" in answer.json["detail"]


def test_the_token_of_somebody_unknown_is_refused_with_the_scheme_named(client_for):
    answer = client_for().get("/api/probe/create", headers={"Authorization": "Bearer tpm_nonsense"})
    assert (answer.status_code, answer.json["code"]) == (401, "token_invalid")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert client_for().get("/api/probe/create").json["code"] == "unauthenticated"


def test_a_revoked_token_and_an_inactive_user_are_refused_at_once(client_for, make_user):
    admin, user = client_for(make_user("administrator")), make_user("developer")
    client = client_for(user)
    assert client.get("/api/probe/create").status_code == 200
    admin.patch(f"/api/users/{user.id}", json={"active": False})
    assert client.get("/api/probe/create").status_code == 401
    admin.patch(f"/api/users/{user.id}", json={"active": True})
    token = client.get("/api/tokens").json["items"][0]
    assert client.delete(f"/api/tokens/{token['id']}").status_code == 204
    assert client.get("/api/probe/create").status_code == 401


def test_a_token_needs_no_csrf_and_a_cookie_does(client_for, make_user):
    user = make_user("developer")
    assert client_for(user).post("/api/probe/create").status_code == 200
    browser = client_for(user, "cookie")
    assert browser.post("/api/probe/create").status_code == 200
    del browser.environ_base["HTTP_X_CSRFTOKEN"]
    forged = browser.post("/api/probe/create")
    assert (forged.status_code, forged.json["code"]) == (400, "csrf_failed")
    assert browser.get("/api/probe/create").status_code == 200


def test_a_wrong_token_is_not_saved_by_a_good_cookie(client_for, make_user):
    browser = client_for(make_user("developer"), "cookie")
    assert browser.get("/api/probe/create", headers={"Authorization": "Bearer tpm_x"}).status_code == 401


def test_a_page_sends_strangers_to_sign_in_and_back(client_for):
    answer = client_for().get("/page?a=1")
    assert answer.status_code == 303
    assert answer.location == "/login?next=/page%3Fa%3D1"


def test_a_form_of_an_expired_session_leads_back_to_its_page(client_for):
    answer = client_for().post("/page", headers={"Referer": "http://localhost/page?b=2"})
    assert answer.location == "/login?next=/page%3Fb%3D2"
    foreign = client_for().post("/page", headers={"Referer": "https://evil.example/page"})
    assert foreign.location == "/login?next=/"


def test_htmx_is_told_to_leave_the_page_when_the_session_has_ended(client_for):
    answer = client_for().get("/page", headers={"HX-Request": "true", "HX-Current-URL": "http://localhost/servers"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/login?next=/servers"


@pytest.mark.parametrize(
    "text",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:x", "/a\nb", "", None, "a"],
)
def test_nobody_is_led_to_another_site_after_signing_in(text):
    assert safe_next(text) == "/"


def test_local_paths_survive():
    assert safe_next("/servers/web-1?tab=runs") == "/servers/web-1?tab=runs"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("{", "application/json", 400, "bad_json"),
        ("[1]", "application/json", 422, "not_an_object"),
        ('{"name": NaN}', "application/json", 400, "bad_json"),
        ("[" * 100_000, "application/json", 400, "bad_json"),
        ('{"name": "a"}', "text/plain", 415, "unsupported_media_type"),
        ("name=a", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("", "text/plain", 422, "invalid_input"),
        ('{"name": "a\\u0000b"}', "application/json", 422, "invalid_input"),
        ('{"name": "\\ud800"}', "application/json", 422, "invalid_input"),
        (b"\xff\xfe{", "application/json", 400, "bad_json"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_why(client_for, make_user, body, content_type, status, code):
    answer = client_for(make_user()).post("/api/probe/body", data=body, content_type=content_type)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"


def test_all_faults_of_a_body_come_together(client_for, make_user):
    answer = client_for(make_user()).post("/api/probe/body", json={"name": "far too long", "count": 0})
    assert answer.status_code == 422
    assert {e["field"]: e["message"] for e in answer.json["errors"]} == {
        "name": "At most 8 characters.",
        "count": "At least 1.",
    }


def test_calls_without_a_listed_body_take_an_empty_one_of_any_type(client_for, make_user):
    client = client_for(make_user())
    for path in ("/api/probe/nothing", "/api/probe/optional"):
        for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded", ""):
            assert client.post(path, data="", content_type=content_type).status_code == 200
    assert client.post("/api/probe/optional", data="x=1", content_type="application/x-www-form-urlencoded").json == {}
    assert client.post("/api/probe/optional", json={"comment": "go"}).json == {"comment": "go"}


def test_nul_in_an_address_is_simply_not_found(client_for, make_user):
    client = client_for(make_user("administrator"))
    assert client.get("/api/probe/open?q=%00").status_code == 404
    assert client.get("/api/users/%00").status_code == 404


def test_when_a_token_was_used_is_written_at_most_once_a_minute(client_for, make_user):
    client = client_for(make_user())
    used = [client.get("/api/tokens").json["items"][0]["last_used_at"] for _ in range(2)]
    assert used[0] is not None
    assert used[0] == used[1]


def test_the_address_of_the_caller_is_believed_from_a_proxy_on_this_machine_only(client_for, make_user):
    client = client_for(make_user())
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.5"}
    assert client.get("/api/probe/create", headers=headers).json["address"] == "203.0.113.5"
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    assert json.loads(client.get("/api/probe/create", headers=headers).text)["address"] == "192.0.2.1"
