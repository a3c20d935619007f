"""The place where a run's Terraform keeps its state: what is refused, and that a refusal overwrites nothing."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.domain.run_state import RunState
from app.extensions import db
from app.models import Run, StateVersion, User, Workspace
from app.runner.state_server import StateServer
from app.services import states
from app.services.uow import unit_of_work
from tests.integration import rows


class Place:
    """A run's state server, and its Terraform's requests."""

    def __init__(self, app: Flask, run: Run) -> None:
        self.fenced: list[bool] = []
        self.server = StateServer(app, run.id, run.workspace_id, run.fence, lambda: self.fenced.append(True))
        self.environment = self.server.environment()

    def ask(self, method: str, body: bytes = b"", password: str | None = None) -> tuple[int, bytes]:
        request = urllib.request.Request(self.environment["TF_HTTP_ADDRESS"], data=body or None, method=method)
        given = base64.b64encode(f"run:{password or self.environment['TF_HTTP_PASSWORD']}".encode()).decode()
        request.add_header("Authorization", f"Basic {given}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@pytest.fixture
def dora(make_user: Callable[..., Any]) -> User:
    user: User = make_user("developer", "dora")
    return user


@pytest.fixture
def place(app: Flask, dora: User) -> Iterator[Callable[..., Place]]:
    """Make a run in the middle of its apply, and its place."""
    made: list[Place] = []

    def make(name: str = "web", ever: bool = True) -> Place:
        workspace = rows.workspace(dora, name)
        with unit_of_work() as uow:
            uow.session.execute(update(Workspace).where(Workspace.id == workspace.id).values(state_ever=ever))
        made.append(Place(app, rows.run(workspace, dora, RunState.APPLYING)))
        return made[-1]

    yield make
    for one in made:
        one.server.close()


def kept() -> list[tuple[int, int]]:
    """Serial and run of every version."""
    db.session.rollback()
    return [(v.serial, v.run_id) for v in db.session.scalars(select(StateVersion).order_by(StateVersion.id))]


FIRST, SECOND = rows.state(1, web={}), rows.state(2, web={})
BAD: dict[str, tuple[bytes, int]] = {
    "a lower serial": (rows.state(1, web={"x": 1}), 409),
    "the same serial with other bytes": (rows.state(2, web={"x": 1}), 409),
    "another lineage": (rows.state(3, web={}).replace(rows.LINEAGE.encode(), b"6f1d1c1e-0000-4000-8000-00000000beef"), 409),
    "not JSON": (b"{", 400),
    "JSON that is no state": (b"[]", 400),
    "fifty megabytes": (b"x" * 50_000_000, 413),
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_a_state_that_does_not_follow_is_refused_and_nothing_is_overwritten(place: Callable[..., Place], what: str) -> None:
    here = place()
    assert here.ask("POST", FIRST)[0] == here.ask("POST", SECOND)[0] == 200
    before = kept()
    body, status = BAD[what]
    if status == 413:
        # Refused by its length alone: whether the answer is read before the connection ends is chance.
        try:
            assert here.ask("POST", body)[0] == status
        except urllib.error.URLError:
            pass
    else:
        assert here.ask("POST", body)[0] == status
    assert kept() == before
    assert here.ask("GET") == (200, SECOND)
    assert not here.fenced


def test_another_runs_token_is_refused(place: Callable[..., Place]) -> None:
    mine, theirs = place("mine"), place("theirs")
    for method, body in (("GET", b""), ("POST", FIRST), ("LOCK", b'{"ID": "1"}')):
        assert mine.ask(method, body, password=theirs.environment["TF_HTTP_PASSWORD"])[0] == 401
    assert kept() == []


def test_a_state_sent_again_because_the_answer_was_lost_is_the_same_one(place: Callable[..., Place]) -> None:
    here = place()
    assert [here.ask("POST", FIRST)[0] for _ in range(3)] == [200] * 3
    assert len(kept()) == 1


def test_an_older_runner_is_refused_and_its_terraform_stopped(place: Callable[..., Place], app: Flask) -> None:
    old = place()
    assert old.ask("POST", FIRST)[0] == 200
    with unit_of_work() as uow:
        run = uow.session.get_one(Run, old.server.run_id)
        run.fence += 1
    new = Place(app, run)
    try:
        assert old.ask("POST", SECOND)[0] == 409
        assert old.fenced == [True], "a refusal alone does not stop it"
        assert new.ask("POST", SECOND)[0] == 200
        assert old.ask("POST", rows.state(3, web={}))[0] == 409
        assert [serial for serial, _ in kept()] == [1, 2]
    finally:
        new.server.close()


def test_an_ended_run_saves_nothing_more(place: Callable[..., Place]) -> None:
    here = place()
    with unit_of_work() as uow:
        uow.session.execute(update(Run).values(state=RunState.CANCELED))
    assert here.ask("POST", FIRST)[0] == 409
    assert kept() == []


def test_empty_is_said_only_where_there_never_was_a_state(place: Callable[..., Place]) -> None:
    assert place("new", ever=False).ask("GET")[0] == 404
    assert place("lost", ever=True).ask("GET")[0] == 500, "404 would mean: create everything"


def test_a_state_that_cannot_be_decrypted_is_not_called_empty(place: Callable[..., Place]) -> None:
    here = place()
    here.ask("POST", FIRST)
    with unit_of_work() as uow:
        uow.session.execute(update(StateVersion).values(body=b"sealed with a key that is gone"))
    assert here.ask("GET")[0] == 500
    assert here.ask("POST", SECOND)[0] == 200, "what Terraform has now is worth more than nothing"


def test_a_lock_is_given_again_to_its_holder_and_to_nobody_else(place: Callable[..., Place]) -> None:
    here = place()
    mine, other = json.dumps({"ID": "a", "Who": "me"}).encode(), json.dumps({"ID": "b", "Who": "you"}).encode()
    assert [here.ask("LOCK", mine)[0] for _ in range(2)] == [200, 200], "the first answer may have been lost"
    status, held = here.ask("LOCK", other)
    assert (status, json.loads(held)["Who"]) == (423, "me")
    assert here.ask("UNLOCK", other)[0] == 409
    assert [here.ask("UNLOCK", mine)[0] for _ in range(2)] == [200, 200]
    assert here.ask("LOCK", other)[0] == 200
    assert here.ask("UNLOCK")[0] == 200, "forced"
    assert here.ask("LOCK", b"nonsense")[0] == 400


def test_a_version_never_goes_back_and_is_kept_beside_the_state(place: Callable[..., Place]) -> None:
    here = place()
    here.ask("POST", FIRST)
    db.session.rollback()
    assert db.session.scalar(select(Workspace.terraform_version).where(Workspace.id == here.server.workspace_id)) == "1.11.4"
    assert states.serial_of(here.server.read().body) == 1
