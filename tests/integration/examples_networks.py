"""Example requests about networks."""

from tests.integration import rows
from tests.integration.walk import Example, Values, World

WANTED = {"name": "walked", "bridge": "vmbr1", "cidr": "10.30.0.0/24", "gateway": "10.30.0.1"}


def _cluster(_world: World) -> Values:
    rows.cluster()
    return {}


def _network(world: World) -> Values:
    rows.cluster()
    return {"network_id": world.client.post("/api/networks", json=WANTED).json["id"]}


def _wanted(_world: World) -> Values:
    return WANTED


def _changed(_world: World) -> Values:
    return {**WANTED, "name": "walked-on"}


EXAMPLES = {
    "api_networks.create": Example("network.create", _cluster, _wanted),
    "api_networks.change": Example("network.change", _network, lambda _: {"name": "walked-on"}),
    "api_networks.delete": Example("network.delete", _network),
    "networks.create": Example("network.create", _cluster, _wanted),
    "networks.change": Example("network.change", _network, _changed),
    "networks.delete": Example("network.delete", _network),
}
