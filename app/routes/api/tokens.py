"""One's own API tokens."""

from flask import Blueprint, Response

from app.extensions import db
from app.routes.access import current_actor, signed_in
from app.routes.api import answer
from app.routes.parse import body
from app.schemas.accounts import TokenCreate, token_json
from app.services import tokens
from app.services.uow import unit_of_work

bp = Blueprint("api_tokens", __name__, url_prefix="/api/tokens")


@bp.get("")
@signed_in
def index() -> Response:
    mine = tokens.list_own(db.session(), current_actor().user_id)
    return answer({"items": [token_json(token) for token in mine], "next_cursor": None})


@bp.post("")
@signed_in
def create() -> Response:
    wanted = body(TokenCreate)
    with unit_of_work() as uow:
        token, text = tokens.create_token(uow, current_actor(), wanted.name)
    return answer(token_json(token) | {"token": text}, 201)


@bp.delete("/<int:token_id>")
@signed_in
def revoke(token_id: int) -> Response:
    with unit_of_work() as uow:
        tokens.revoke_token(uow, current_actor(), token_id)
    return Response(status=204)
