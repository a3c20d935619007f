"""The log of one run as a stream: all of it, in order, then its end."""

import uuid

import pytest

from app.domain.run_state import RunKind, RunState
from app.models import Cluster, Project, Run, RunLog, User, Workspace
from app.services.uow import unit_of_work
from tests.integration.sse import Events


@pytest.fixture
def make_run():
    def make(owner: User) -> int:
        with unit_of_work() as uow:
            project = Project(name="default")
            cluster = Cluster(name="c", endpoint="https://c", auth_id="a@pve!t", secret=b"", version=1)
            uow.session.add_all([project, cluster])
            uow.session.flush()
            workspace = Workspace(name="w", project_id=project.id, cluster_id=cluster.id)
            uow.session.add(workspace)
            uow.session.flush()
            run = Run(
                task_id=uuid.uuid4(), workspace_id=workspace.id, created_by_id=owner.id, kind=RunKind.CREATE,
                state=RunState.PLANNING, intent={}, targets=["web-1"], names=["web-1"], version=1,
            )  # fmt: skip
            uow.session.add(run)
            uow.session.flush()
            return run.id

    return make


def _write(run_id: int, text: str, state: RunState | None = None) -> None:
    with unit_of_work() as uow:
        run = uow.session.get(Run, run_id)
        if text:
            size = len(text.encode())
            uow.session.add(
                RunLog(
                    run_id=run_id, fence=1, phase="plan", start=run.log_bytes, log_offset=run.log_bytes, length=size,
                    first_line=1, text=text,
                )
            )  # fmt: skip
            run.log_bytes += size
            uow.publish(
                "log", f"owner:{run.created_by_id}", {"run": run_id, "offset": run.log_bytes - size, "bytes": size}
            )
        if state is not None:
            run.state = state
            uow.publish("run", f"owner:{run.created_by_id}", {"id": run_id, "state": state.value})


def test_a_script_reads_the_log_from_its_beginning_to_its_end(web, make_user, token_of, make_run):
    owner = make_user()
    run_id = make_run(owner)
    _write(run_id, "first\nsecond\n")
    with Events(web, f"/api/runs/{run_id}/log/stream", token_of(owner)) as lines:
        assert lines.next().data == "first\nsecond\n"
        _write(run_id, "drittes ✓\n")
        third = lines.next()
        assert (third.type, third.data, third.id) == ("log", "drittes ✓\n", "25")
        _write(run_id, "last\n", RunState.APPLIED)
        assert lines.next().data == "last\n"
        end = lines.next()
        assert (end.type, end.data) == ("end", '{"state": "applied"}')
        assert lines.next() is None


def test_it_resumes_behind_the_last_byte_that_came(web, make_user, token_of, make_run):
    owner = make_user()
    run_id = make_run(owner)
    _write(run_id, "first\n")
    _write(run_id, "second\n", RunState.ERRORED)
    for how in ({"Last_Event_ID": "6"}, {}):
        path = f"/api/runs/{run_id}/log/stream" + ("" if how else "?offset=6")
        with Events(web, path, token_of(owner), **how) as lines:
            assert lines.next().data == "second\n"
            assert lines.next().type == "end"


def test_somebody_elses_log_is_not_there_and_strangers_get_204(web, make_user, token_of, make_run):
    run_id = make_run(make_user())
    with Events(web, f"/api/runs/{run_id}/log/stream", token_of(make_user())) as refused:
        assert refused.status == 404
    with Events(web, f"/api/runs/{run_id}/log/stream") as stranger:
        assert stranger.status == 204
    with Events(web, "/api/runs/999/log/stream", token_of(make_user("viewer"))) as nothing:
        assert nothing.status == 404
