"""Example requests about projects."""

from sqlalchemy import select

from app.models import Project
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.walk import Example, Values, World


def _project(world: World) -> Values:
    rows.workspace(world.admin)
    with unit_of_work() as uow:
        return {"project_id": uow.session.scalar(select(Project.id))}


def _rule(_world: World) -> Values:
    return {"approval": "always"}


EXAMPLES = {
    "api_projects.change": Example("project.change", _project, _rule),
    "admin_projects.change": Example("project.change", _project, _rule),
}
