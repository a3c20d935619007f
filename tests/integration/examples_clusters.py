"""Example requests about clusters."""

from tests.integration import rows
from tests.integration.walk import Example, Values, World


def _known(_world: World) -> Values:
    return {"cluster_id": rows.cluster().id}


def _connected(world: World) -> Values:
    return {"cluster_id": world.connect().id}


def _wanted(_world: World) -> Values:
    """Nobody listens there: that a connection was tried is kept, whatever came of it."""
    return {"name": "walked", "endpoint": "https://127.0.0.1:1", "auth_id": "root@pam!walk", "secret": "1b2c3d4e"}


def _form(world: World) -> Values:
    return {**_wanted(world), "vmid_low": "200", "vmid_high": "8999"}


def _name(_world: World) -> Values:
    return {"name": "walked"}


EXAMPLES = {
    "api_clusters.create": Example("cluster.create", body=_wanted),
    "api_clusters.change": Example("cluster.change", _known, _name),
    "api_clusters.delete": Example("cluster.delete", _known),
    "api_clusters.test": Example("cluster.test", body=_wanted),
    "api_clusters.test_saved": Example("cluster.test", _connected),
    "admin_clusters.create": Example("cluster.create", body=_form),
    "admin_clusters.change": Example("cluster.change", _known, _form),
    "admin_clusters.delete": Example("cluster.delete", _known),
    "admin_clusters.test": Example("cluster.test", body=_form),
}
