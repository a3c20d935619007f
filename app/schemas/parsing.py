"""Reading raw input into a schema without losing the faults found elsewhere."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import FieldError
from app.schemas.faults import field_errors, unstorable

M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], raw: Mapping[str, Any]) -> tuple[M | None, list[FieldError]]:
    """Return the value, or the faults: so that the database's own can be told together with them."""
    found = unstorable(dict(raw))
    try:
        value = model.model_validate(dict(raw))
    except ValidationError as exc:
        return None, [*found, *(f for f in field_errors(exc) if f.field not in {e.field for e in found})]
    return (None, found) if found else (value, [])
