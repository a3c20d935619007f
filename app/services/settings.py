"""Settings changed in the application, the installation's own id, and the effective configuration with its sources."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.config import Settings, get_settings
from app.domain.permissions import Permission
from app.errors import FieldError, Invalid
from app.models import Setting
from app.services import audit
from app.services.actor import Actor
from app.services.uow import UnitOfWork

RUNTIME_KEY = "runtime"
INSTALLATION_KEY = "installation_id"
MASK = "***"


@dataclass(frozen=True)
class RuntimeSettings:
    """What an administrator may change while everything runs."""

    plan_expiry_s: int = 86_400
    stall_after_s: int = 300
    slots_per_template: int = 10
    slots_per_node: int = 20
    slots_per_storage: int = 20
    parallelism: int = 10
    clone_timeout_s: int = 3600  # of servers made from now on
    destinations_for_all: int = 1  # 0: only administrators send notifications elsewhere
    local_destinations: int = 0  # 1: also to addresses of this host


BOUNDS: dict[str, tuple[int, int]] = {
    "plan_expiry_s": (300, 30 * 86_400),
    "stall_after_s": (5, 86_400),
    "slots_per_template": (1, 100),
    "slots_per_node": (1, 200),
    "slots_per_storage": (1, 200),
    "parallelism": (1, 50),
    "clone_timeout_s": (300, 86_400),
    "destinations_for_all": (0, 1),
    "local_destinations": (0, 1),
}


def read_value(session: Session, key: str) -> dict[str, Any]:
    """Return a stored value; empty when there is none."""
    value = session.execute(select(Setting.value).where(Setting.key == key)).scalar()
    return dict(value) if value else {}


def write_value(session: Session, key: str, value: dict[str, Any]) -> None:
    """Store a value, new or in place of the former one."""
    stmt = insert(Setting).values(key=key, value=value)
    session.execute(
        stmt.on_conflict_do_update(index_elements=["key"], set_={"value": value, "updated_at": func.clock_timestamp()})
    )


def get(session: Session) -> RuntimeSettings:
    """Return the settings in force: the stored ones over the defaults."""
    known = {f.name for f in fields(RuntimeSettings)}
    return RuntimeSettings(**{k: v for k, v in read_value(session, RUNTIME_KEY).items() if k in known})


def check(changes: dict[str, int]) -> list[FieldError]:
    """Return the faults of these values."""
    faults = []
    for name, value in changes.items():
        if name not in BOUNDS:
            faults.append(FieldError(name, "extra_forbidden"))
        elif value < BOUNDS[name][0]:
            faults.append(FieldError(name, "greater_than_equal", {"ge": BOUNDS[name][0]}))
        elif value > BOUNDS[name][1]:
            faults.append(FieldError(name, "less_than_equal", {"le": BOUNDS[name][1]}))
        elif name == "clone_timeout_s" and value > (longest := max(RuntimeSettings.clone_timeout_s, get_settings().run_deadline_s)):
            # A run ends at its own deadline, so a longer limit would promise what does not hold.
            faults.append(FieldError(name, "over_the_deadline", {"le": longest}))
    return faults


def change(uow: UnitOfWork, actor: Actor, **changes: int) -> RuntimeSettings:
    """Change the named settings; the others stay. Raises Invalid."""
    actor.need(Permission.MANAGE_SETTINGS)
    if faults := check(changes):
        raise Invalid(faults)
    before = asdict(get(uow.session))
    after = RuntimeSettings(**{**before, **changes})
    write_value(uow.session, RUNTIME_KEY, asdict(after))
    different = {k: [before[k], v] for k, v in changes.items() if before[k] != v}
    audit.record(uow, actor, "settings.change", "settings", RUNTIME_KEY, "", changes=different)
    return after


def ensure_installation_id(uow: UnitOfWork) -> str:
    """Return this installation's id, made once."""
    uow.session.execute(
        insert(Setting).values(key=INSTALLATION_KEY, value={"id": uuid4().hex}).on_conflict_do_nothing()
    )
    return installation_id(uow.session)


def installation_id(session: Session) -> str:
    """Return the id that the markers on our VMs carry; empty before the first start was completed."""
    return str(read_value(session, INSTALLATION_KEY).get("id", ""))


@dataclass(frozen=True)
class Effective:
    """One line of the configuration; a secret shows as ***. `source`: environment, .env, instance, default or database."""

    name: str
    value: str
    source: str


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, list | tuple):
        return ", ".join(_shown(v) for v in value)
    return _without_password(str(value))


def _without_password(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not separator or not at:
        return text
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{colon}{MASK if colon else ''}@{host}"


def _configured(settings: Settings) -> Iterator[Effective]:
    for name in type(settings).model_fields:
        yield Effective(name.upper(), _shown(getattr(settings, name)), settings.source(name))


def effective(settings: Settings, session: Session) -> list[Effective]:
    """Return all of the configuration with its source, secrets masked."""
    stored = read_value(session, RUNTIME_KEY)
    return list(_configured(settings)) + [
        Effective(name, str(value), "database" if name in stored else "default")
        for name, value in asdict(get(session)).items()
    ]
