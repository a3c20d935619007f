"""What a request for servers would come to, while it is being filled in: places, addresses, first start, time.

Decided by what the request itself is decided by; only nothing is held.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app.domain import placement
from app.domain.placement import Misfit, Verdict
from app.domain.run_state import RunKind
from app.models import Template
from app.services import networks, server_checks, server_devices, server_rows, waiting, workspaces
from app.services.server_checks import Look
from app.services.waiting import Usual


@dataclass(frozen=True)
class Started:
    """One server's own part of its first start; `addresses` with their prefix lengths."""

    hostname: str
    addresses: list[str]
    gateway: str | None


@dataclass(frozen=True)
class FirstStart:
    """What cloud-init is given; `keys` are fingerprints with their comments."""

    username: str
    keys: list[str]
    dns: list[str]
    domain: str | None
    servers: list[Started]


@dataclass(frozen=True)
class Preview:
    """`places` are nodes, the chosen ones first; `node` the one asked for, for all of them; `ips` the addresses servers would get, of `free` in all."""

    count: int = 1
    node: str | None = None
    places: list[Verdict] = field(default_factory=list)
    unplaced: list[Misfit] = field(default_factory=list)
    network: str = ""
    ips: list[str] = field(default_factory=list)
    free: int | None = None
    usual: Usual | None = None
    start: FirstStart | None = None


def preview(session: Session, raw: Mapping[str, Any]) -> Preview:
    """Look at a form as it stands, faulty or not; what cannot be told yet is left out."""
    seen = server_checks.look(session, raw)
    template = seen.stock.template if seen.stock else None
    if seen.stock is None or template is None or not seen.wants:
        return Preview()
    survey = placement.survey(seen.wants, seen.stock.rooms, server_checks.source_of(template))
    given = server_rows.addresses(seen.networks, seen.each, {pool.network.id: pool.free for pool in seen.stock.networks.values()})
    first = seen.networks[0][0] if seen.networks else None
    asked = {want.node for want in seen.wants}
    return Preview(
        len(seen.each), asked.pop() if len(asked) == 1 else None, survey.nodes, survey.unplaced, first.name if first else "",
        [ip for ips in given for ip in ips[:1] if ip], networks.usage(session, first).free if first else None,
        waiting.usual(session, RunKind.CREATE, len(seen.each)), _first_start(seen, template, given) if seen.names else None,
    )  # fmt: skip


def _first_start(seen: Look, template: Template, given: Sequence[Sequence[str | None]]) -> FirstStart:
    """Tell it from the rows' own NICs, rendered as Terraform is given them."""
    rows = [server_devices.nics_of(seen.networks, ips) for ips in given]
    dns, domain = workspaces.names_from(rows[0])
    servers = []
    for name, nics in zip(seen.names, rows, strict=True):
        inputs = workspaces.nic_inputs(nics)
        servers.append(Started(name, [nic.address for nic in inputs], next((nic.gateway for nic in inputs if nic.gateway), None)))
    return FirstStart(seen.values.username or template.username, [fingerprint(key) for key in seen.values.ssh_keys or ()], dns, domain, servers)


def fingerprint(key: str) -> str:
    """Return an SSH public key as `ssh-keygen -l` names it, with its comment; the key's start when it cannot be read."""
    kind, _, rest = key.partition(" ")
    body, _, comment = rest.partition(" ")
    try:
        digest = base64.b64encode(hashlib.sha256(base64.b64decode(body, validate=True)).digest()).decode().rstrip("=")
    except (binascii.Error, ValueError):
        return key[:24]
    return f"{kind} SHA256:{digest} {comment}".strip()
