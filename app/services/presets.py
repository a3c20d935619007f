"""Presets: sizes with a name."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, and_, cast, func, select, tuple_
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.errors import FieldError, Invalid, NotFound
from app.models import Preset, Server
from app.schemas.page import Page, clamp, decode_cursor, encode_cursor
from app.schemas.parsing import parse
from app.schemas.presets import PresetInput
from app.services import audit
from app.services.actor import Actor
from app.services.uow import UnitOfWork

# name, cores, memory_mib, disk_gib
FIRST = (
    ("nano", 1, 1024, 10),
    ("small", 1, 2048, 20),
    ("medium", 2, 4096, 40),
    ("large", 4, 8192, 80),
    ("xlarge", 8, 16384, 160),
)


def by_name(session: Session, name: str) -> Preset | None:
    """Return the preset with this name."""
    return session.scalars(select(Preset).where(Preset.name == name)).first()


def all_presets(session: Session) -> list[Preset]:
    """Return every preset in its order."""
    return list(session.scalars(select(Preset).order_by(Preset.position, Preset.id)))


def sized(session: Session) -> dict[int, int]:
    """Return how many servers have exactly the size of each preset: cores, memory and first disk."""
    first = cast(Server.disks[0]["size_gib"].astext, Integer)
    same = and_(Server.cores == Preset.cores, Server.memory_mib == Preset.memory_mib, first == Preset.disk_gib, Server.deleted_at.is_(None))
    return {row[0]: row[1] for row in session.execute(select(Preset.id, func.count()).join(Server, same).group_by(Preset.id))}


def list_page(session: Session, limit: int | None = None, cursor: str | None = None) -> Page[Preset]:
    """Return presets in their order."""
    size = clamp(limit)
    stmt = select(Preset).order_by(Preset.position, Preset.id).limit(size + 1)
    if after := decode_cursor(cursor, int, int):
        stmt = stmt.where(tuple_(Preset.position, Preset.id) > tuple_(*after))
    rows = session.scalars(stmt).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page(rows[:size], encode_cursor(last.position, last.id) if last else None)


def add_first(uow: UnitOfWork) -> None:
    """Add the five presets of a new installation; nothing when there is any."""
    if uow.session.scalar(select(Preset.id).limit(1)) is None:
        for position, (name, cores, memory_mib, disk_gib) in enumerate(FIRST):
            uow.session.add(
                Preset(name=name, cores=cores, memory_mib=memory_mib, disk_gib=disk_gib, position=position * 10)
            )


def create(uow: UnitOfWork, actor: Actor, raw: Mapping[str, Any]) -> Preset:
    """Add a preset. Raises Invalid."""
    actor.need(Permission.MANAGE_TEMPLATES)
    preset = Preset(**_read(uow.session, raw, None).model_dump())
    uow.session.add(preset)
    uow.session.flush()
    audit.record(uow, actor, "preset.create", "preset", preset.id, preset.name)
    return preset


def change(uow: UnitOfWork, actor: Actor, preset_id: int, raw: Mapping[str, Any]) -> Preset:
    """Change a preset; servers made from it keep their size. Raises Invalid, NotFound."""
    actor.need(Permission.MANAGE_TEMPLATES)
    preset = uow.session.get(Preset, preset_id, with_for_update=True) or _missing()
    now = {k: getattr(preset, k) for k in PresetInput.model_fields}
    data = _read(uow.session, {**now, **raw}, preset).model_dump()
    changed = sorted(k for k, v in data.items() if now[k] != v)
    for key in changed:
        setattr(preset, key, data[key])
    audit.record(uow, actor, "preset.change", "preset", preset.id, preset.name, fields=changed)
    return preset


def delete(uow: UnitOfWork, actor: Actor, preset_id: int) -> None:
    """Remove a preset. Raises NotFound."""
    actor.need(Permission.MANAGE_TEMPLATES)
    preset = uow.session.get(Preset, preset_id) or _missing()
    audit.record(uow, actor, "preset.delete", "preset", preset.id, preset.name)
    uow.session.delete(preset)


def _read(session: Session, raw: Mapping[str, Any], preset: Preset | None) -> PresetInput:
    data, faults = parse(PresetInput, raw)
    wanted = raw.get("name")
    twin = by_name(session, wanted.strip()) if isinstance(wanted, str) and not faults else None
    if twin is not None and (preset is None or twin.id != preset.id):
        faults.append(FieldError("name", "name_taken", {"name": twin.name}))
    if data is None or faults:
        raise Invalid(faults)
    return data


def _missing() -> Preset:
    raise NotFound
