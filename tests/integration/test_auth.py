"""Signing in and out, as a browser does it."""

import re

import pytest
from sqlalchemy import select

from app import create_app
from app.config import get_settings
from app.extensions import db
from app.models import AuditEvent, User
from app.services import sessions
from tests.integration.conftest import USER_PASSWORD, Client


def _csrf(html: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', html)
    assert found
    return found.group(1)


def _sign_in(client: Client, username: str, password: str = USER_PASSWORD, next_: str = "/"):
    token = _csrf(client.get("/login").text)
    fields = {"username": username, "password": password, "next": next_, "csrf_token": token}
    return client.post("/login", data=fields)


def _session_id(client: Client) -> str:
    name = client.application.config["SESSION_COOKIE_NAME"]
    cookie = client.get_cookie(name)
    return cookie.value if cookie else ""


def test_signing_in_leads_on_and_gives_a_new_session_id(client_for, make_user):
    make_user("viewer", "vera")
    client = client_for()
    client.get("/login")
    before = _session_id(client)
    answer = _sign_in(client, "Vera", next_="/servers?q=a")
    assert (answer.status_code, answer.location) == (303, "/servers?q=a")
    assert before
    assert _session_id(client) not in ("", before)
    assert client.get("/api/me").json["username"] == "vera"


def test_the_session_cookie_is_named_after_the_port_and_closed_to_scripts(client_for, make_user):
    make_user("viewer", "vera")
    client = client_for()
    cookie = _sign_in(client, "vera").headers["Set-Cookie"]
    assert re.match(r"tpm_session_\d+=", cookie)
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(("public_url", "secure"), [("https://servers.example.org", True), ("http://servers.example.org", False), ("", False)])
def test_the_session_cookie_goes_over_tls_alone_where_people_come_by_tls(make_user, public_url: str, secure: bool):
    make_user("viewer", "vera")
    there = create_app(get_settings().model_copy(update={"public_url": public_url}))
    there.test_client_class = Client
    cookie = _sign_in(there.test_client(), "vera").headers["Set-Cookie"]
    assert cookie.startswith("tpm_session_") and ("Secure" in cookie) is secure


def test_wrong_name_wrong_password_and_inactive_look_the_same(client_for, make_user):
    make_user("viewer", "vera")
    make_user("viewer", "ines", active=False)
    answers = [
        _sign_in(client_for(), name, password)
        for name, password in (("vera", "wrong"), ("nobody", USER_PASSWORD), ("ines", USER_PASSWORD), ("", ""))
    ]
    assert {a.status_code for a in answers} == {422}
    assert all("Username or password is wrong" in a.text for a in answers)


def test_signing_in_without_the_forms_token_is_refused(client_for, make_user):
    make_user("viewer", "vera")
    answer = client_for().post("/login", data={"username": "vera", "password": USER_PASSWORD})
    assert answer.status_code == 400


def test_guessing_is_stopped_for_this_address_and_name_only(client_for, make_user):
    make_user("viewer", "vera")
    make_user("viewer", "ines")
    codes = [_sign_in(client_for(), "vera", f"guess {n}").status_code for n in range(sessions.PER_NAME.amount + 1)]
    assert codes == [422] * sessions.PER_NAME.amount + [429]
    assert _sign_in(client_for(), "vera").status_code == 429
    assert _sign_in(client_for(), "ines").status_code == 303
    elsewhere = client_for()
    elsewhere.environ_base["REMOTE_ADDR"] = "192.0.2.55"
    assert _sign_in(elsewhere, "vera").status_code == 303


def test_names_that_do_not_exist_are_throttled_just_the_same(client_for):
    codes = [_sign_in(client_for(), "ghost", "x").status_code for _ in range(sessions.PER_NAME.amount + 1)]
    assert codes[-1] == 429


def test_a_success_forgives_earlier_mistakes(client_for, make_user):
    make_user("viewer", "vera")
    for _ in range(3):
        for _ in range(sessions.PER_NAME.amount - 2):
            _sign_in(client_for(), "vera", "typo")
        assert _sign_in(client_for(), "vera").status_code == 303


def test_a_copied_cookie_is_worth_nothing_after_signing_out(client_for, make_user, app):
    make_user("viewer", "vera")
    client, thief = client_for(), client_for()
    _sign_in(client, "vera")
    thief.set_cookie(app.config["SESSION_COOKIE_NAME"], _session_id(client))
    assert thief.get("/api/me").status_code == 200
    token = _csrf(client.get("/account").text)
    assert client.post("/logout", data={"csrf_token": token}).location == "/login"
    assert client.get("/api/me").status_code == 401
    assert thief.get("/api/me").status_code == 401


def test_a_session_id_that_somebody_else_chose_is_not_taken_over(client_for, make_user, app):
    make_user("viewer", "vera")
    client = client_for()
    client.set_cookie(app.config["SESSION_COOKIE_NAME"], "chosen-by-an-attacker")
    _sign_in(client, "vera")
    assert _session_id(client) != "chosen-by-an-attacker"


def test_sign_out_everywhere_ends_the_others_and_keeps_this_one(client_for, make_user):
    make_user("viewer", "vera")
    here, there = client_for(), client_for()
    _sign_in(here, "vera")
    _sign_in(there, "vera")
    token = _csrf(here.get("/account").text)
    here.post("/account/sign-out-everywhere", data={"csrf_token": token})
    assert here.get("/api/me").status_code == 200
    assert there.get("/api/me").status_code == 401


def test_a_new_password_ends_the_other_sessions(client_for, make_user):
    make_user("viewer", "vera")
    here, there = client_for(), client_for()
    _sign_in(here, "vera")
    _sign_in(there, "vera")
    fields = {"old_password": USER_PASSWORD, "new_password": "another long one"}
    answer = here.post("/account/password", data={**fields, "csrf_token": _csrf(here.get("/account").text)})
    assert answer.status_code in (200, 303)
    assert here.get("/api/me").status_code == 200
    assert there.get("/api/me").status_code == 401
    assert _sign_in(client_for(), "vera").status_code == 422
    assert _sign_in(client_for(), "vera", "another long one").status_code == 303


@pytest.mark.parametrize("next_", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_signing_in_never_leads_to_another_site(client_for, make_user, next_):
    make_user("viewer", "vera")
    assert _sign_in(client_for(), "vera", next_=next_).location == "/"


def test_sign_in_sign_out_and_refusals_are_audited_without_any_password(client_for, make_user):
    make_user("viewer", "vera")
    client = client_for()
    _sign_in(client, "vera", "my typed secret")
    _sign_in(client, "not a name!", "x")
    _sign_in(client, "vera")
    client.post("/logout", data={"csrf_token": _csrf(client.get("/account").text)})
    events = db.session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    assert [(e.action, e.object_name, e.address) for e in events] == [
        ("session.refused", "vera", "127.0.0.1"),
        ("session.refused", "", "127.0.0.1"),
        ("session.sign_in", "vera", "127.0.0.1"),
        ("session.sign_out", "vera", "127.0.0.1"),
    ]
    assert "my typed secret" not in str([e.detail for e in events])


def test_a_hash_of_other_parameters_is_renewed_at_sign_in(client_for, make_user):
    import argon2  # noqa: PLC0415

    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(USER_PASSWORD)
    user = make_user("viewer", "vera", password_hash=old)
    _sign_in(client_for(), "vera")
    assert db.session.get(User, user.id).password_hash != old
    assert _sign_in(client_for(), "vera").status_code == 303


def test_redis_flushed_means_signing_in_again_and_nothing_else(client_for, make_user, store):
    make_user("viewer", "vera")
    client = client_for()
    _sign_in(client, "vera")
    store.flushall()
    assert client.get("/servers").location.startswith("/login?next=")
    assert _sign_in(client, "vera").status_code == 303


@pytest.mark.parametrize("path", ["/servers", "/login", "/"])
def test_a_token_that_does_not_work_is_refused_and_not_sent_to_sign_in_for_ever(client_for, path):
    answer = client_for().get(path, headers={"Authorization": "Bearer tpm_none", "Accept": "text/html"})
    assert (answer.status_code, "Location" in answer.headers) == (401, False)
