"""Example requests about templates and presets."""

from tests.integration import rows
from tests.integration.walk import Example, Values, World

PRESET = {"name": "walked", "cores": 1, "memory_mib": 1024, "disk_gib": 10}


def _template(_world: World) -> Values:
    return {"template_id": rows.template().id}


def _preset(world: World) -> Values:
    return {"preset_id": world.client.post("/api/presets", json=PRESET).json["id"]}


def _wanted(_world: World) -> Values:
    return PRESET


def _preset_form(_world: World) -> Values:
    return {"name": "walked", "cores": "1", "memory_gib": "1", "disk_gib": "10"}


EXAMPLES = {
    "api_templates.change": Example("template.change", _template, lambda _: {"offered": False}),
    "templates.change": Example("template.change", _template, lambda _: {"min_memory_mib": "1024", "username": "walked"}),
    "templates.offer": Example("template.change", _template),
    "api_presets.create": Example("preset.create", body=_wanted),
    "api_presets.change": Example("preset.change", _preset, lambda _: {"cores": 2}),
    "api_presets.delete": Example("preset.delete", _preset),
    "templates.preset_save": Example("preset.create", body=_preset_form),
    "templates.preset_delete": Example("preset.delete", _preset),
}
