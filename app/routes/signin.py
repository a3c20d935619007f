"""Signing a browser in and out: the one place that writes who a session belongs to."""

from flask import current_app, g, session
from flask_login import login_user, logout_user

from app.errors import AppError
from app.extensions import db
from app.models import User
from app.routes.access import browser_session, client_address, current_actor
from app.services import accounts, sessions, users
from app.services.uow import unit_of_work


class BadCredentials(AppError):
    """One answer for an unknown name, a wrong password and an inactive user."""

    code, status = "bad_credentials", 401


def sign_in(username: str, password: str) -> User:
    """Sign this browser in under a new session id. Raises TooManyAttempts, BadCredentials."""
    address = client_address()
    sessions.throttle(address, username)
    found = users.authenticate(db.session(), username, password)
    db.session.close()
    with unit_of_work() as uow:
        if found is None:
            sessions.refused(uow, username, address)
        else:
            found = sessions.signed_in(uow, found.id, password, address)
    if found is None:
        raise BadCredentials
    current_app.session_interface.rotate(browser_session())  # type: ignore[attr-defined]  # our own interface
    login_user(found)
    g.pop("actor", None)
    return found


def sign_out() -> None:
    """End this browser's session, and its streams in every tab and process."""
    actor, mark = current_actor(), browser_session().mark
    with unit_of_work() as uow:
        sessions.signed_out(uow, actor, mark)
        # Gone before the other tabs hear of it: they ask at once whether it still holds.
        current_app.session_interface.rotate(browser_session())  # type: ignore[attr-defined]  # our own interface
    logout_user()
    session.clear()
    g.pop("actor", None)


def sign_out_everywhere() -> None:
    """End all other sessions of the user; this one goes on."""
    with unit_of_work() as uow:
        user = sessions.sign_out_everywhere(uow, current_actor(), browser_session().mark)
    session["_user_id"] = user.get_id()


def change_password(old: str, new: str) -> None:
    """Change the user's own password; all other sessions end. Raises Invalid."""
    with unit_of_work() as uow:
        user = accounts.change_password(uow, current_actor(), old, new, browser_session().mark)
    session["_user_id"] = user.get_id()
