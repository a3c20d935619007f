"""Example requests about people, tokens, sessions and settings."""

from app.services import pause, settings, tokens
from app.services.uow import unit_of_work
from tests.integration.conftest import USER_PASSWORD
from tests.integration.walk import Example, Values, World


def _user(world: World) -> Values:
    return {"user_id": world.make_user("viewer").id}


def _inactive(world: World) -> Values:
    return {"user_id": world.make_user("viewer", active=False).id}


def _token(world: World) -> Values:
    tokens.issue_token(world.admin.username, "walk")
    with unit_of_work() as uow:
        return {"token_id": tokens.list_own(uow.session, world.admin.id)[0].id}


def _password(_world: World) -> Values:
    return {"old_password": USER_PASSWORD, "new_password": "quite another one"}


def _paused(_world: World) -> Values:
    with unit_of_work() as uow:
        settings.write_value(uow.session, pause.KEY, {"by": "restore"})
    return {}


def _vera(world: World) -> Values:
    world.make_user("viewer", "vera")
    return {}


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIcBNkBEwGV5mDsCLKDGPbWBSPdgPuNwnQ0Oz1bOV9Fk walk@example"

SETTINGS = {
    "plan_expiry_s": "3600", "plan_expiry_h": "1", "stall_after_s": "60", "clone_timeout_s": "7200", "clone_timeout_min": "120",
    "slots_per_template": "9", "slots_per_node": "9",
    "slots_per_storage": "9", "parallelism": "7",
}  # fmt: skip

EXAMPLES = {
    "admin_settings.resume": Example("runs.resume", _paused),
    "api_settings.resume": Example("runs.resume", _paused),
    "auth.login_post": Example(
        "session.sign_in", _vera, lambda _: {"username": "vera", "password": USER_PASSWORD}, by="stranger"
    ),
    "auth.logout": Example("session.sign_out"),
    "prefs.language": Example("user.set_language", body=lambda _: {"language": "ko"}),
    "account.keys": Example("user.set_ssh_keys", body=lambda _: {"ssh_keys": KEY}),
    "account.look": Example("user.set_language", body=lambda _: {"language": "ko"}),
    "account.password": Example("user.change_password", body=_password),
    "account.sign_out_everywhere": Example("session.sign_out_everywhere"),
    "account.token_create": Example("token.create", body=lambda _: {"name": "walk"}),
    "account.token_revoke": Example("token.revoke", _token),
    "admin_settings.change": Example("settings.change", body=lambda _: SETTINGS),
    "admin_users.create": Example("user.create", body=lambda _: {"username": "walk", "role": "viewer"}),
    "admin_users.activate": Example("user.activate", _inactive),
    "admin_users.deactivate": Example("user.deactivate", _user),
    "admin_users.password": Example("user.reset_password", _user),
    "admin_users.role": Example("user.change_role", _user, lambda _: {"role": "operator"}),
    "api_users.change_me": Example("user.set_language", body=lambda _: {"language": "ko"}),
    "api_users.change_password": Example("user.change_password", body=_password),
    "api_users.sign_out_everywhere": Example("session.sign_out_everywhere"),
    "api_users.create": Example("user.create", body=lambda _: {"username": "walk", "role": "viewer"}),
    "api_users.change": Example("user.change_role", _user, lambda _: {"role": "operator"}),
    "api_users.reset_password": Example("user.reset_password", _user),
    "api_tokens.create": Example("token.create", body=lambda _: {"name": "walk"}),
    "api_tokens.revoke": Example("token.revoke", _token),
    "api_settings.change": Example("settings.change", body=lambda _: {"parallelism": 7}),
}
