"""The declarative base, and the column types every table uses."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.attributes import instance_dict, manager_of_class

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Json = dict[str, Any]
pk = Annotated[int, mapped_column(BigInteger, primary_key=True)]
# The database's clock, always: processes of several machines compare these.
created = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())]


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's protocol
        datetime: DateTime(timezone=True),
        Json: JSONB,
        list[str]: JSONB,
        list[int]: JSONB,
        list[Json]: JSONB,
    }


def enum_column(kind: type[StrEnum]) -> Enum:
    """A varchar that holds the enum's value (not its name) and checks nothing in the database."""
    return Enum(kind, native_enum=False, length=24, values_callable=lambda e: [m.value for m in e], create_constraint=False)


class Versioned:
    """Rows shown live: `version` grows with every change, and events repeat it."""

    version: Mapped[int] = mapped_column(default=1, server_default="1")


Model = TypeVar("Model", bound=Base)


def detached(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return a row with these values that belongs to no session, as one that was loaded: nothing is noted as changed.

    For requests that make many of them: a constructor tells of each attribute, which takes ten times as long.
    """
    made: Model = manager_of_class(model).new_instance()
    instance_dict(made).update(values)
    return made


Text = String
