"""Reading requests: the body, the query and the Idempotency-Key, as typed values or one error with all faults."""

import json
from typing import Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from app.errors import AppError, BadRequest, Invalid
from app.schemas.faults import field_errors, unstorable
from app.services import idempotency

Model = TypeVar("Model", bound=BaseModel)


class BadJson(BadRequest):
    code = "bad_json"


class UnsupportedMediaType(AppError):
    code, status = "unsupported_media_type", 415


class NotAnObject(AppError):
    code, status = "not_an_object", 422


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def json_body(*, optional: bool = False) -> dict[str, Any]:
    """Return the body as an object; an empty one is `{}`. Raises UnsupportedMediaType, BadJson, NotAnObject.

    With `optional`, what is not announced as JSON counts as no body: such calls take an empty one of any type.
    """
    raw = request.get_data()
    if not raw.strip() or (optional and not request.is_json):
        return {}
    if not request.is_json:
        raise UnsupportedMediaType
    try:
        data = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise BadJson from exc
    if not isinstance(data, dict):
        raise NotAnObject
    if faults := unstorable(data):
        raise Invalid(faults)
    return data


def body(model: type[Model], *, optional: bool = False) -> Model:
    """Validate the JSON body. Raises Invalid with every fault of the schema."""
    return _valid(model, json_body(optional=optional))


def query(model: type[Model]) -> Model:
    """Validate the query string; empty values count as not given. Raises Invalid."""
    return _valid(model, {k: v for k, v in request.args.to_dict().items() if v != ""})


def _valid(model: type[Model], data: dict[str, Any]) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        raise Invalid(field_errors(exc)) from exc


def idempotency_key() -> str | None:
    """Return the caller's Idempotency-Key."""
    return request.headers.get("Idempotency-Key") or None


def body_hash() -> str:
    """Return the hash by which a repeated request is recognised."""
    return idempotency.digest(request.get_data())
