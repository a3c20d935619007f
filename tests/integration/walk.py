"""The walk over all writing routes: one example request for each, and the audit row it must leave.

Each area keeps its examples in `examples_<area>.py` as `EXAMPLES: dict[endpoint, Example]`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.models import Cluster, Server, User
from tests.integration.conftest import Client

Values = dict[str, Any]


@dataclass(frozen=True)
class World:
    """Who walks: an administrator with a token and, as the same person, a browser; and what is made when it is needed.

    `connect` connects the simulated cluster, `make_server` does so too and makes a server there: both cost time.
    """

    admin: User
    client: Client
    browser: Client
    make_user: Callable[..., User]
    make_server: Callable[..., Server]
    connect: Callable[[], Cluster]


def nothing(_world: World) -> Values:
    return {}


@dataclass(frozen=True)
class Example:
    """A request that succeeds. `prepare` makes what it works on and returns the values of the address."""

    action: str
    prepare: Callable[[World], Values] = nothing
    body: Callable[[World], Values] = nothing  # JSON for the API, form fields for a page
    by: str = ""  # "stranger": nobody is signed in
    statuses: tuple[int, ...] = field(default=(200, 201, 202, 204, 303))
