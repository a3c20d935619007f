"""Projects: their approval rules, which administrators change."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.permissions import Permission
from app.domain.run_state import RunState
from app.errors import Invalid, NotFound
from app.models import Project, Run, Workspace
from app.schemas.parsing import parse
from app.schemas.projects import ProjectChange
from app.services import audit, runs
from app.services.actor import Actor
from app.services.uow import UnitOfWork


def list_all(session: Session, actor: Actor) -> list[Project]:
    """Return the projects, oldest first."""
    actor.need(Permission.MANAGE_PROJECTS)
    return list(session.scalars(select(Project).order_by(Project.id)))


def change(uow: UnitOfWork, actor: Actor, project_id: int, raw: Mapping[str, Any]) -> Project:
    """Change what is named of a project's rule; it holds at once, also for plans that wait. Raises Invalid, NotFound."""
    actor.need(Permission.MANAGE_PROJECTS)
    data, faults = parse(ProjectChange, raw)
    if data is None:
        raise Invalid(faults)
    project = uow.session.scalar(select(Project).where(Project.id == project_id).with_for_update(key_share=True))
    if project is None:
        raise NotFound(kind="project", name=str(project_id))
    different = {
        name: [getattr(project, name), value] for name, value in data.model_dump(include=data.model_fields_set).items() if getattr(project, name) != value
    }
    for name, (_, value) in different.items():
        setattr(project, name, value)
    audit.record(uow, actor, "project.change", "project", project.id, project.name, changes=different)
    uow.session.flush()
    if different:
        _tell_waiting(uow, project.id)
    return project


def _tell_waiting(uow: UnitOfWork, project_id: int) -> None:
    """Plans that wait are decided by the new rule: who may approve now is told, and pages show other buttons."""
    waiting = uow.session.scalars(
        select(Run.id).join(Workspace, Workspace.id == Run.workspace_id)
        .where(Workspace.project_id == project_id, Run.state == RunState.PLANNED).order_by(Run.id)
    )  # fmt: skip
    for run_id in waiting.all():
        run = runs.locked(uow, run_id)
        if run.state == RunState.PLANNED:
            runs.ask(uow, run)
            runs.touch(uow, run)
