"""What a request for servers would come to, while it is being filled in: places, addresses, first start, time."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain import placement
from app.domain.placement import Source, Verdict, Want, WantedDisk
from app.domain.run_state import RunKind
from app.models import Network, Template
from app.services import networks, server_checks, waiting
from app.services import placement as rooms
from app.services.server_checks import Wanted

SHOWN = 5


@dataclass(frozen=True)
class FirstStart:
    """What cloud-init is given on a server's first start."""

    hostname: str
    username: str
    keys: list[str]  # fingerprints with their comments
    addresses: list[str]
    gateway: str | None
    dns: list[str]
    domain: str | None


@dataclass(frozen=True)
class Preview:
    """`places` are nodes, the chosen ones first; `ips` the next free addresses, of `free` in all; `seconds` as past runs took."""

    places: list[Verdict] = field(default_factory=list)
    ips: list[str] = field(default_factory=list)
    free: int | None = None
    seconds: float | None = None
    start: FirstStart | None = None


def preview(session: Session, raw: Mapping[str, Any]) -> Preview:
    """Look at a form as it stands, faulty or not; what cannot be told yet is left out."""
    template = session.scalar(select(Template).where(Template.name == str(raw.get("template", "")), Template.offered, ~Template.gone))
    if template is None:
        return Preview()
    count = raw["count"] if isinstance(raw.get("count"), int) and 0 < raw["count"] <= 100 else 1
    count = max(count, len(raw.get("servers") or ()))
    asked = [n for n in raw.get("networks") or () if isinstance(n, Mapping)]
    network = networks.by_name(session, str(asked[0].get("network", "")), template.cluster_id) if asked else None
    wanted, _ = server_checks.examine(session, raw)
    seconds = waiting.median_s(session, RunKind.CREATE, count)
    return Preview(
        _places(session, raw, template, network, count), *_addresses(session, network, asked, count), seconds, _first_start(wanted) if wanted else None
    )


def _places(session: Session, raw: Mapping[str, Any], template: Template, network: Network | None, count: int) -> list[Verdict]:
    def number(name: str, usual: int) -> int:
        value = raw.get(name)
        return value if isinstance(value, int) and value > 0 else usual

    given = [d for d in raw.get("disks") or () if isinstance(d, Mapping)]
    disks = [WantedDisk(d["size_gib"] if isinstance(d.get("size_gib"), int) else template.disk_gib, d.get("storage")) for d in given]
    want = Want(
        number("cores", template.cores), number("memory_mib", template.memory_mib), tuple(disks) or (WantedDisk(template.disk_gib),), None,
        frozenset([network.bridge] if network else ()),
    )  # fmt: skip
    source = Source(template.node_name, template.storage, template.storage_shared)
    return placement.verdicts(want, count, rooms.rooms(session, template.cluster_id), source)


def _addresses(session: Session, network: Network | None, asked: Sequence[Mapping[str, Any]], count: int) -> tuple[list[str], int | None]:
    if network is None:
        return [], None
    left = networks.usage(session, network).free
    return ([] if asked[0].get("ip") else networks.free(session, network, min(count, SHOWN))), left


def _first_start(wanted: Wanted) -> FirstStart:
    """Tell the first server's, from the same addresses and the same names that its row would get."""
    chosen = [(network, ip or (wanted.each[0].ip if i == 0 else None) or next(iter(wanted.addresses.get(network.id, [])), None)) for i, (network, ip) in enumerate(wanted.networks)]
    first = chosen[0][0] if chosen else None
    return FirstStart(
        wanted.names[0], wanted.request.username or wanted.template.username, [fingerprint(key) for key in wanted.request.ssh_keys or []],
        [f"{ip}/{network.cidr.partition('/')[2]}" for network, ip in chosen if ip], first.gateway if first else None,
        list(first.dns_servers) if first else [], first.dns_domain if first else None,
    )  # fmt: skip


def fingerprint(key: str) -> str:
    """Return an SSH public key as `ssh-keygen -l` names it, with its comment; the key's start when it cannot be read."""
    kind, _, rest = key.partition(" ")
    body, _, comment = rest.partition(" ")
    try:
        digest = base64.b64encode(hashlib.sha256(base64.b64decode(body, validate=True)).digest()).decode().rstrip("=")
    except (binascii.Error, ValueError):
        return key[:24]
    return f"{kind} SHA256:{digest} {comment}".strip()


