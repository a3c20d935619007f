"""A server's resource as the newest state has it, to read: what is secret is masked, whoever asks."""

import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.adapters.aside import aside
from app.models import Server
from app.services import state_history, states
from app.services.state_history import Version

MASK = "••••••"
# Beside what Terraform marks: a provider may forget one.
SECRET = re.compile(r"password|passwd|secret|token|private|credential", re.IGNORECASE)
NEWEST = 5


@dataclass(frozen=True)
class Resource:
    """`text` is JSON, indented; empty when the state does not have the server. `versions` are the newest of its workspace."""

    address: str
    text: str
    versions: list[Version]


def of_server(session: Session, server: Server) -> Resource:
    """Return the server's resource. Raises Undecryptable."""
    address = f'proxmox_virtual_environment_vm.server["{server.slug}"]'
    versions = list(state_history.list_page(session, server.workspace, limit=NEWEST).items)
    if not versions:
        return Resource(address, "", [])
    body = state_history.body_of(session, server.workspace, versions[0].id)
    return Resource(address, aside(lambda: _text(body, server.slug)), versions)


def _text(body: bytes, slug: str) -> str:
    for item in states.server_items(body):
        if str(item.get("index_key", "")) == slug:
            attributes = item.get("attributes") or {}
            for path in item.get("sensitive_attributes") or []:
                _hide(attributes, [step.get("value") for step in path])
            return json.dumps(_masked(attributes), indent=2, ensure_ascii=False, sort_keys=True)
    return ""


def _hide(at: Any, path: list[Any]) -> None:
    """Mask one value in place; a path that leads nowhere hides nothing."""
    for number, step in enumerate(path):
        key = step.get("value") if isinstance(step, dict) else step
        inside = (isinstance(at, dict) and key in at) or (isinstance(at, list) and isinstance(key, int) and -len(at) <= key < len(at))
        if not inside:
            return
        if number == len(path) - 1:
            at[key] = at[key] and MASK
        else:
            at = at[key]


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    return MASK if value and isinstance(value, str) and SECRET.search(name) else value
