"""People: who may manage them, and that nobody locks everybody out."""

import threading

import pytest
from sqlalchemy import func, select

from app.domain.permissions import Role
from app.errors import Invalid, NotFound
from app.extensions import db
from app.models import ApiToken, AuditEvent, User
from app.services import tokens, users
from app.services.uow import unit_of_work


def _actions() -> list[str]:
    return list(db.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


def test_an_administrator_makes_a_user_and_sees_the_password_once(client_for, make_user):
    client = client_for(make_user("administrator"))
    made = client.post("/api/users", json={"username": "carol", "role": "developer"})
    assert made.status_code == 201
    assert len(made.json["password"]) >= 12
    assert "password" not in client.get(f"/api/users/{made.json['id']}").json
    assert users.authenticate(db.session(), "Carol ", made.json["password"]).username == "carol"


@pytest.mark.parametrize("name", ["a", "A", "Ümit", "a b", "x" * 65, "a/b", "<b>", "a\n", ""])
def test_impossible_usernames_are_faults_of_the_field(client_for, make_user, name):
    answer = client_for(make_user("administrator")).post("/api/users", json={"username": name, "role": "viewer"})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "username"


def test_all_faults_of_a_user_come_together(client_for, make_user):
    make_user("viewer", "carol")
    body = {"username": "carol", "role": "viewer", "password": "short"}
    answer = client_for(make_user("administrator")).post("/api/users", json=body)
    assert {e["field"] for e in answer.json["errors"]} == {"username", "password"}


def test_two_requests_for_one_name_make_one_user(app, make_user, actor_of):
    actor, faults = actor_of(make_user("administrator")), []

    def make() -> None:
        with app.app_context():
            try:
                with unit_of_work() as uow:
                    users.create(uow, actor, "twin", Role.VIEWER)
            except Invalid as exc:
                faults.append(exc.errors[0].code)

    both = [threading.Thread(target=make) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert faults == ["username_taken"]
    assert db.session.scalar(select(func.count()).where(User.username == "twin")) == 1


@pytest.mark.parametrize("role", ["operator", "developer", "viewer"])
def test_only_administrators_manage_people(client_for, make_user, role):
    client = client_for(make_user(role))
    assert client.get("/api/users").status_code == 403
    assert client.post("/api/users", json={"username": "carol", "role": "administrator"}).status_code == 403


def test_nobody_takes_away_their_own_rights_and_an_administrator_remains(client_for, make_user):
    alice, bob = make_user("administrator"), make_user("administrator")
    client = client_for(alice)
    assert client.patch(f"/api/users/{alice.id}", json={"role": "viewer"}).json["code"] == "not_yourself"
    assert client.patch(f"/api/users/{bob.id}", json={"role": "viewer"}).status_code == 200
    assert client.patch(f"/api/users/{alice.id}", json={"active": False}).json["code"] == "not_yourself"


def test_two_administrators_who_demote_each_other_leave_one(app, make_user, actor_of):
    pair = [make_user("administrator"), make_user("administrator")]
    start = threading.Barrier(2)

    def demote(actor, victim) -> None:
        with app.app_context():
            start.wait()
            try:
                with unit_of_work() as uow:
                    users.change_role(uow, actor, victim.id, Role.VIEWER)
            except users.LastAdministrator:
                pass

    both = [threading.Thread(target=demote, args=(actor_of(a), b)) for a, b in (pair, pair[::-1])]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert db.session.scalar(select(func.count()).where(User.role == Role.ADMINISTRATOR)) == 1


def test_a_new_role_is_in_force_at_the_next_request(client_for, make_user):
    admin, user = client_for(make_user("administrator")), make_user("viewer")
    client = client_for(user, "cookie")
    assert client.get("/api/audit").status_code == 403
    admin.patch(f"/api/users/{user.id}", json={"role": "operator"})
    assert client.get("/api/audit").status_code == 200


def test_tokens_are_shown_once_and_stored_as_a_hash(client_for, make_user):
    client = client_for(make_user(), "cookie")
    made = client.post("/api/tokens", json={"name": "ci"}).json
    assert made["token"].startswith("tpm_")
    row = db.session.get(ApiToken, made["id"])
    assert made["token"] not in (row.token_hash, row.prefix)
    assert "token" not in client.get("/api/tokens").json["items"][0]
    assert client.post("/api/tokens", json={"name": " "}).status_code == 422


def test_a_token_of_somebody_else_cannot_be_revoked(client_for, make_user):
    alice = make_user()
    made = client_for(alice, "cookie").post("/api/tokens", json={"name": "ci"}).json
    assert client_for(make_user()).delete(f"/api/tokens/{made['id']}").status_code == 404
    assert client_for(make_user("administrator")).delete(f"/api/tokens/{made['id']}").status_code == 204


def test_the_command_line_makes_people_and_tokens():
    password = users.add_user("dave", "operator")
    assert users.authenticate(db.session(), "dave", password) is not None
    found = tokens.by_token(users.issue_token("dave", "cli"))
    assert found is not None
    assert found[0].username == "dave"
    with pytest.raises(NotFound):
        users.issue_token("nobody", "cli")
    with pytest.raises(Invalid):
        users.add_user("eve", "emperor")


def test_every_change_of_a_user_is_audited_with_who_and_from_where(client_for, make_user):
    admin, user = client_for(make_user("administrator", "root")), make_user("viewer", "carol")
    admin.patch(f"/api/users/{user.id}", json={"role": "developer"})
    admin.patch(f"/api/users/{user.id}", json={"active": False})
    admin.post(f"/api/users/{user.id}/reset-password")
    listed = admin.get("/api/audit?object_type=user&action=user").json["items"]
    assert [(e["action"], e["username"], e["object_name"], e["address"]) for e in listed] == [
        (action, "root", "carol", "127.0.0.1")
        for action in ("user.reset_password", "user.deactivate", "user.change_role")
    ]
    assert listed[2]["detail"] == {"old": "viewer", "new": "developer"}


def test_ones_own_account_language_keys_and_password(client_for, make_user):
    user = make_user("developer")
    client = client_for(user, "cookie")
    assert "create" in client.get("/api/me").json["permissions"]
    assert client.patch("/api/me", json={"language": "ko"}).json["language"] == "ko"
    assert client.patch("/api/me", json={"language": "xx"}).json["code"] == "invalid_input"
    assert client.patch("/api/me", json={"ssh_keys": "not a key"}).status_code == 422
    wrong = client.post("/api/me/password", json={"old_password": "nope", "new_password": "short"}).json
    assert [e["code"] for e in wrong["errors"]] == ["password_wrong", "password_too_short"]
    assert _actions() == ["user.set_language"]
