"""People: the administrator's list, and one's own account."""

from flask import Blueprint, Response

from app.domain.permissions import PERMISSIONS, Permission
from app.errors import FieldError, Invalid
from app.extensions import db
from app.routes import signin
from app.routes.access import current_actor, needs, signed_in
from app.routes.api import answer, page
from app.routes.parse import body, query
from app.schemas.accounts import OwnChange, PageQuery, PasswordChange, UserChange, UserCreate, user_json
from app.services import accounts, users
from app.services.uow import unit_of_work

bp = Blueprint("api_users", __name__, url_prefix="/api")


@bp.get("/me")
@signed_in
def me() -> Response:
    actor = current_actor()
    user = users.get(db.session(), actor.user_id)
    return answer(
        {**user_json(user), "ssh_keys": user.ssh_keys, "permissions": sorted(p.value for p in PERMISSIONS[actor.role])}
    )


@bp.patch("/me")
@signed_in
def change_me() -> Response:
    wanted, actor = body(OwnChange), current_actor()
    with unit_of_work() as uow:
        if "language" in wanted.model_fields_set:
            accounts.set_language(uow, actor, wanted.language)
        if wanted.ssh_keys is not None:
            accounts.set_ssh_keys(uow, actor, wanted.ssh_keys)
        user = users.get(uow.session, actor.user_id)
    return answer({**user_json(user), "ssh_keys": user.ssh_keys})


@bp.post("/me/password")
@signed_in
def change_password() -> Response:
    wanted = body(PasswordChange)
    signin.change_password(wanted.old_password, wanted.new_password)
    return answer({"success": True})


@bp.post("/me/sign-out-everywhere")
@signed_in
def sign_out_everywhere() -> Response:
    signin.sign_out_everywhere()
    return answer({"success": True})


@bp.get("/users")
@needs(Permission.MANAGE_USERS)
def index() -> Response:
    wanted = query(PageQuery)
    return page(users.list_page(db.session(), current_actor(), wanted.limit, wanted.cursor), user_json)


@bp.post("/users")
@needs(Permission.MANAGE_USERS)
def create() -> Response:
    wanted = body(UserCreate)
    with unit_of_work() as uow:
        user, password = users.create(uow, current_actor(), wanted.username, wanted.role, wanted.password)
    shown = user_json(user) | ({"password": password} if password else {})
    return answer(shown, 201, location=f"/api/users/{user.id}")


@bp.get("/users/<int:user_id>")
@needs(Permission.MANAGE_USERS)
def show(user_id: int) -> Response:
    return answer(user_json(users.get(db.session(), user_id)))


@bp.patch("/users/<int:user_id>")
@needs(Permission.MANAGE_USERS)
def change(user_id: int) -> Response:
    wanted, actor = body(UserChange), current_actor()
    if wanted.role is None and wanted.active is None:
        raise Invalid([FieldError("role", "missing")])
    with unit_of_work() as uow:
        user = users.get(uow.session, user_id)
        if wanted.role is not None:
            user = users.change_role(uow, actor, user_id, wanted.role)
        if wanted.active is not None:
            user = (users.activate if wanted.active else users.deactivate)(uow, actor, user_id)
    return answer(user_json(user))


@bp.post("/users/<int:user_id>/reset-password")
@needs(Permission.MANAGE_USERS)
def reset_password(user_id: int) -> Response:
    with unit_of_work() as uow:
        user, password = users.reset_password(uow, current_actor(), user_id)
    return answer(user_json(user) | {"password": password})
