"""Example requests about servers, and what switches them on and off."""

from tests.integration import rows
from tests.integration.walk import Example, Values, World


def _room(world: World) -> Values:
    rows.project()
    world.connect()
    return {}


def _server(world: World) -> Values:
    rows.workspace(world.admin)
    return {"name": "web"}


def _wired(world: World) -> Values:
    values = _server(world)
    rows.network("walked")
    return values


def _switch(world: World) -> Values:
    return {**_server(world), "action": "start"}


def _servers(world: World) -> Values:
    _server(world)
    return {}


def _wanted(_world: World) -> Values:
    return {"name": "walked", "template": "debian-12", "memory_mib": 512}


def _form(_world: World) -> Values:
    return {"name": "walked", "template": "debian-12", "cores": "1", "memory_gib": "1", "disk_gib": "20", "count": "1"}


def _sure(_world: World) -> Values:
    return {"confirm": "web"}


def _many(_world: World) -> Values:
    return {"names": ["web"], "action": "start"}


EXAMPLES = {
    "api_servers.create": Example("server.create", _room, _wanted),
    "api_servers.change": Example("server.change", _server, lambda _: {"cores": 2}),
    "api_servers.delete": Example("server.delete", _server, _sure),
    "api_power.power": Example("server.start", _switch),
    "api_bulk.create": Example("server.start", _servers, _many),
    "servers.create": Example("server.create", _room, _form),
    "servers.resize": Example("server.change", _server, lambda _: {"cores": "2", "memory_gib": "0.5"}),
    "servers.devices": Example("server.change", _wired, lambda _: {"do": "add_network", "new_network": "walked"}),
    "servers.describe": Example("server.change", _server, lambda _: {"description": "walked"}),
    "servers.delete": Example("server.delete", _server, _sure),
    "servers.power": Example("server.start", _server, lambda _: {"action": "start"}),
    "bulk.start": Example("server.start", _servers, _many),
}
