"""The line of runs before a workspace: who begins the next one, and that nobody waits for two things at once."""


from sqlalchemy import select, text

from app.domain.run_state import RunState
from app.models import Run, User
from app.services import runs
from app.services.uow import unit_of_work
from tests.integration import rows


def test_a_run_that_somebody_works_on_is_left_to_him(dora: User) -> None:
    """Who cancels a waiting run has its row and wants the line; who promotes has the line and wants the row."""
    workspace = rows.workspace(dora)
    waiting = rows.run(workspace, dora, RunState.PENDING, 0)
    with unit_of_work() as cancels:
        runs.locked(cancels, waiting.id)
        with unit_of_work() as promotes:
            promotes.session.execute(text("set local lock_timeout = '2s'"))
            assert runs.promote(promotes, workspace.id) is None
        assert runs.promote(cancels, workspace.id) is not None
    with unit_of_work() as uow:
        assert uow.session.scalars(select(Run.state).where(Run.id == waiting.id)).one() == RunState.PLAN_QUEUED


def test_runs_begin_in_the_order_they_were_asked_for(dora: User) -> None:
    workspace = rows.workspace(dora)
    first, second = rows.run(workspace, dora, RunState.PENDING, 0), rows.run(workspace, dora, RunState.PENDING, 0)
    with unit_of_work() as uow:
        begun = runs.promote(uow, workspace.id)
        assert begun is not None and begun.id == first.id
    with unit_of_work() as uow:
        assert runs.promote(uow, workspace.id) is None
        waiting = uow.session.get_one(Run, second.id)
        assert waiting.waiting_for == {"code": "waiting_for_run", "args": {"run": first.id}}
