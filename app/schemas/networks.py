"""What a request for a network may hold; how its numbers fit together is domain/addressing.py's business."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.domain.addressing import parse_ip
from app.schemas.servers import Number, Strict

_LABEL = re.compile(r"^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$")


def none_if_empty(value: Any) -> Any:
    """A form's empty field means "not given"."""
    return None if isinstance(value, str) and not value.strip() else value


def name(value: str) -> str:
    """A name of one line without surrounding blanks or control characters."""
    value = value.strip()
    if not value:
        raise PydanticCustomError("missing", "missing")
    if any(not c.isprintable() for c in value):
        raise PydanticCustomError("control_character", "control_character")
    if set(value) & set("<>\"'`$/\\{}"):
        raise PydanticCustomError("name_characters", "name_characters")
    return value


def _words(value: Any) -> Any:
    return [w for w in re.split(r"[,\s]+", value) if w] if isinstance(value, str) else value


def _dns(value: str) -> str:
    address = parse_ip(value)
    if address is None:
        raise PydanticCustomError("ip_malformed", "ip_malformed", {"ip": value[:60]})
    return str(address)


def _domain(value: str) -> str:
    value = value.strip().rstrip(".").lower()
    if len(value) > 253 or not all(_LABEL.match(label) for label in value.split(".")):
        raise PydanticCustomError("bad_domain", "bad_domain", {"domain": value[:60]})
    return value


def _stripped(value: str) -> str:
    return value.strip()


Empty = BeforeValidator(none_if_empty)
Name = Annotated[str, Field(max_length=64), AfterValidator(name)]
Bridge = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]
Vlan = Annotated[int, Number, Field(ge=1, le=4094)]
Address = Annotated[str, Field(max_length=39), AfterValidator(_stripped)]
DnsServers = Annotated[list[Annotated[str, AfterValidator(_dns)]], BeforeValidator(_words), Field(max_length=5)]


class NetworkInput(Strict):
    """`POST /api/networks` and the network's form; `cluster` is a name, not needed while there is one cluster."""

    name: Name
    cluster: Annotated[str | None, Empty] = None
    bridge: Bridge
    vlan: Annotated[Vlan | None, Empty] = None
    cidr: Annotated[str, Field(max_length=43), AfterValidator(_stripped)]
    gateway: Annotated[Address | None, Empty] = None
    dns_servers: DnsServers = Field(default_factory=list)
    dns_domain: Annotated[Annotated[str, AfterValidator(_domain)] | None, Empty] = None
    range_low: Annotated[Address | None, Empty] = None
    range_high: Annotated[Address | None, Empty] = None
    is_default: bool = False
