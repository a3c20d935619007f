"""A run's rendered inputs: made once, stored, and used by every later plan of the same run."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from app.models import Server
from app.services import run_execution, workspaces
from app.services.uow import UnitOfWork


def of(uow: UnitOfWork, run_id: int, fence: int, running: Mapping[str, bool]) -> dict[str, Any]:
    """Return the run's inputs, rendering them at its first plan, so that later requests never leak into it."""
    run = run_execution.guard(uow, run_id, fence)
    if run.inputs is None:
        run.inputs = workspaces.render_inputs(uow.session, run, running)
    return run.inputs


def single(uow: UnitOfWork, run_id: int, fence: int, slug: str) -> dict[str, Any]:
    """Return inputs that hold one server of a delete too."""
    run = run_execution.guard(uow, run_id, fence)
    server = uow.session.scalars(select(Server).where(Server.workspace_id == run.workspace_id, Server.slug == slug)).one()
    return workspaces.single_input(uow.session, server, run)
