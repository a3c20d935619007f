"""What the command palette finds: servers and runs by what one types, as far as the reader may see them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import String, and_, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.orm import Session

from app.models import Run, Server
from app.services import runs, servers
from app.services.actor import Actor

LIMIT = 6
NUMBER = re.compile(r"#?(\d{1,9})")


@dataclass(frozen=True)
class Found:
    """Servers, those that begin with the words first, and runs, the newest first."""

    servers: Sequence[Server] = ()
    runs: Sequence[Run] = ()


def find(session: Session, actor: Actor, words: str) -> Found:
    """Return what goes by these words; nothing for none."""
    words = words.strip()
    if not words:
        return Found()
    found = find_servers(session, actor, words)
    return Found(found, _runs(session, actor, words, found))


def find_servers(session: Session, actor: Actor, words: str) -> Sequence[Server]:
    """Return servers by a part of their name, or by their VMID."""
    number = NUMBER.fullmatch(words)
    part = Server.name.icontains(words.lower(), autoescape=True)
    wanted = or_(part, Server.vmid == int(number[1])) if number else part
    first = case((Server.name.startswith(words.lower(), autoescape=True), 0), else_=1)
    query = servers.visible(select(Server), actor).where(wanted).order_by(first, func.length(Server.name), Server.name)
    return list(session.scalars(query.limit(LIMIT)))


def _runs(session: Session, actor: Actor, words: str, of: Sequence[Server]) -> Sequence[Run]:
    number = NUMBER.fullmatch(words)
    about = and_(Run.workspace_id.in_({s.workspace_id for s in of}), Run.targets.op("?|")(cast(array([s.slug for s in of]), ARRAY(String))))
    wanted = or_(about, Run.id == int(number[1])) if number else about
    return list(session.scalars(runs.visible(select(Run), actor).where(wanted).order_by(Run.id.desc()).limit(LIMIT)))
