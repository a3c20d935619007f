"""The runner's state server: what it refuses, what it answers twice, and that a refusal never overwrites anything."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.adapters import crypto
from app.adapters.terraform.binary import find_terraform
from app.adapters.terraform.process import Keeper
from app.domain.run_state import RunState
from app.extensions import db
from app.models import Run, StateVersion, User, Workspace
from app.runner.state_server import StateServer
from app.services import run_execution, states
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.conftest import until

MINE, OTHER = json.dumps({"ID": "one", "Who": "dora@a"}).encode(), json.dumps({"ID": "two", "Who": "olaf@b"}).encode()


class Terraform:
    """Speaks to a state server as Terraform's http backend does; `told` holds what the runner was told to do."""

    def __init__(self, app: Flask, run: Run) -> None:
        self.told: list[str] = []
        self.run = run
        self.server = StateServer(app, run.id, run.workspace_id, run.fence, lambda: self.told.append("stop"))
        environment = self.server.environment()
        self.address = urlsplit(environment["TF_HTTP_ADDRESS"])
        self.token = environment["TF_HTTP_PASSWORD"]

    def ask(self, method: str, body: bytes = b"", lock: str = "", **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection(str(self.address.hostname), self.address.port, timeout=20)
        credentials = base64.b64encode(f"run:{self.token}".encode()).decode()
        try:
            path = self.address.path + (f"?ID={lock}" if lock else "")
            connection.request(method, path, body, {"Authorization": f"Basic {credentials}", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, body: bytes, lock: str = "") -> int:
        return self.ask("POST", body, lock)[0]


@pytest.fixture
def terraform_of(app: Flask) -> Iterator[Callable[[Run], Terraform]]:
    made: list[Terraform] = []

    def make(run: Run) -> Terraform:
        made.append(Terraform(app, run))
        return made[-1]

    yield make
    for one in made:
        one.server.close()


@pytest.fixture
def terraform(dora: User, terraform_of: Callable[[Run], Terraform]) -> Terraform:
    """Of an apply whose workspace has state 5."""
    one = terraform_of(rows.run(rows.workspace(dora), dora, RunState.APPLYING))
    assert one.post(rows.state(5, web={"vm_id": 7})) == 200
    return one


def kept() -> list[tuple[int, bytes]]:
    """All state versions there are, oldest first."""
    db.session.rollback()
    return [(v.serial, crypto.unseal(v.body)) for v in db.session.scalars(select(StateVersion).order_by(StateVersion.id))]


def lineage(body: bytes, other: str) -> bytes:
    return body.replace(rows.LINEAGE.encode(), other.encode())


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (rows.state(4, web={"vm_id": 8}), 409),
        (rows.state(5, web={"vm_id": 8}), 409),
        (lineage(rows.state(6), "6f1d1c1e-0000-4000-8000-00000000ffff"), 409),
        (b"", 400),
        (b"{half a sta", 400),
        (b"[" * 200_000, 400),
        (b"[]", 400),
        (b'{"serial": 6}', 400),
        (b'{"serial": 1e999, "lineage": "x"}', 400),
        (b'{"serial": "6", "lineage": "x"}', 400),
        (b'{"serial": -1, "lineage": "x"}', 400),
        (rows.state(1 << 70), 400),
        (lineage(rows.state(6), "y" * 65), 400),
        (lineage(rows.state(6), "\\u0000"), 400),
        (b'{"serial": 6, "lineage": "x", "resources": 7}', 400),
        (b'{"serial": 6, "lineage": "x", "resources": [null]}', 400),
        (b'{"serial": 6, "lineage": "x", "terraform_version": 1}', 400),
    ],
    ids=["lower serial", "same serial, other bytes", "other lineage", "empty", "cut off", "deep", "a list", "no lineage", "infinite",
         "serial is text", "negative", "serial too large", "lineage too long", "lineage with NUL", "resources are none", "a null resource",
         "version is none"],
)  # fmt: skip
def test_a_state_that_does_not_follow_or_is_none_is_refused_and_the_old_one_stays(terraform: Terraform, body: bytes, status: int) -> None:
    before = kept()
    assert terraform.post(body) == status
    assert kept() == before
    assert terraform.ask("GET") == (200, before[-1][1])
    assert terraform.post(rows.state(6, web={"vm_id": 7})) == 200, "the next good one is taken"


def test_a_state_of_fifty_megabytes_is_refused_with_an_answer(terraform: Terraform) -> None:
    before = kept()
    assert terraform.post(rows.state(6, web={"description": "x" * (50 << 20)})) == 413
    assert kept() == before


def test_one_just_below_the_limit_is_taken(terraform: Terraform) -> None:
    assert terraform.post(rows.state(6, web={"description": "x" * (states.MAX_BYTES - 2000)})) == 200
    assert [serial for serial, _ in kept()] == [5, 6]


def test_the_token_of_another_run_opens_nothing(dora: User, terraform: Terraform, terraform_of: Callable[[Run], Terraform]) -> None:
    other = terraform_of(rows.run(rows.workspace(dora, "other"), dora, RunState.APPLYING))
    own, other.token = other.token, terraform.token
    before = kept()
    for method in ("GET", "POST", "LOCK", "UNLOCK"):
        assert other.ask(method, rows.state(1) if method == "POST" else MINE) == (401, b"")
    assert kept() == before
    other.token = own
    assert other.ask("LOCK", OTHER)[0] == 200, "the lock was not taken by the stranger"


@pytest.mark.parametrize("length", ["many", "-1", "1e3"])
def test_a_length_that_is_none_gets_an_answer(terraform: Terraform, length: str) -> None:
    assert terraform.ask("POST", rows.state(6), **{"Content-Length": length})[0] == 400


def test_an_unreadable_state_is_never_told_to_be_none(terraform: Terraform) -> None:
    """Terraform takes 404 for "nothing exists" and creates everything again."""
    with unit_of_work() as uow:
        uow.session.execute(update(StateVersion).values(body=b"nonsense"))
    assert terraform.ask("GET")[0] == 500


def test_only_a_workspace_that_never_had_a_state_is_empty(dora: User, terraform_of: Callable[[Run], Terraform]) -> None:
    workspace = rows.workspace(dora)
    terraform = terraform_of(rows.run(workspace, dora, RunState.APPLYING))
    assert terraform.ask("GET")[0] == 500
    with unit_of_work() as uow:
        uow.session.execute(update(Workspace).values(state_ever=False))
    assert terraform.ask("GET")[0] == 404


def test_the_version_of_terraform_never_goes_back(terraform: Terraform) -> None:
    for serial, written_by in ((6, b"1.12.0"), (7, b"1.9.9")):
        assert terraform.post(rows.state(serial).replace(b"1.11.4", written_by)) == 200
    db.session.rollback()
    assert db.session.scalars(select(Workspace.terraform_version)).one() == "1.12.0"


# ---------------------------------------------------------------- answers that were lost
def test_a_state_sent_again_is_taken_once(terraform: Terraform) -> None:
    body = rows.state(6, web={"vm_id": 7})
    assert [terraform.post(body) for _ in range(3)] == [200, 200, 200]
    assert [serial for serial, _ in kept()] == [5, 6]


def test_locking_and_unlocking_again_is_harmless(terraform: Terraform) -> None:
    assert [terraform.ask("LOCK", MINE)[0] for _ in range(2)] == [200, 200]
    assert terraform.post(rows.state(6), lock="one") == 200
    assert [terraform.ask("UNLOCK", MINE)[0] for _ in range(2)] == [200, 200]
    assert terraform.ask("LOCK", OTHER)[0] == 200


# ---------------------------------------------------------------- the lock of a Terraform that was given its address
def test_who_wants_a_lock_that_is_held_is_told_by_whom_and_changes_nothing(terraform: Terraform) -> None:
    assert terraform.ask("LOCK", MINE)[0] == 200
    before = kept()
    assert terraform.ask("LOCK", OTHER) == (423, MINE)
    assert terraform.ask("UNLOCK", OTHER) == (423, MINE)
    assert terraform.ask("POST", rows.state(6), lock="two") == (423, MINE)
    assert terraform.ask("POST", rows.state(6)) == (423, MINE)
    assert kept() == before
    assert terraform.post(rows.state(6), lock="one") == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"ID": ""}', b'{"ID": 7}', b'{"Who": "x"}'])
def test_a_lock_without_a_name_is_refused(terraform: Terraform, body: bytes) -> None:
    assert [terraform.ask(method, body)[0] for method in ("LOCK", "UNLOCK")] == [400, 400]
    assert terraform.ask("LOCK", MINE)[0] == 200


def test_a_method_that_the_backend_does_not_have_is_refused(terraform: Terraform) -> None:
    before = kept()
    assert [terraform.ask(method)[0] for method in ("DELETE", "PUT")] == [501, 501]
    assert kept() == before


@pytest.fixture
def real_terraform(dora: User, terraform_of: Callable[[Run], Terraform], tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`real_terraform("apply", …)`: the program itself, told the state server's address for states and locks alike."""
    workspace = rows.workspace(dora)
    with unit_of_work() as uow:
        uow.session.execute(update(Workspace).values(state_ever=False))
    server = terraform_of(rows.run(workspace, dora, RunState.APPLYING)).server
    (tmp_path / "main.tf").write_text('terraform {\n  backend "http" {}\n}\nresource "terraform_data" "one" {}\n')
    address = server.environment()["TF_HTTP_ADDRESS"]
    locks = {"TF_HTTP_LOCK_ADDRESS": address, "TF_HTTP_UNLOCK_ADDRESS": address}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **server.environment(), **locks, "CHECKPOINT_DISABLE": "1"}

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*find_terraform().argv, *words, "-input=false", "-no-color"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    call.lock = server.lock  # type: ignore[attr-defined]
    assert (done := call("init")).returncode == 0, done.stderr
    return call


def test_the_real_terraform_locks_saves_and_unlocks(real_terraform: Any) -> None:
    for _ in range(2):
        done = real_terraform("apply", "-auto-approve")
        assert done.returncode == 0, done.stderr
    assert len(kept()) >= 1 and b"terraform_data" in kept()[-1][1]
    real_terraform.lock.lock(OTHER)  # nobody holds it: it can be had


def test_the_real_terraform_is_told_who_holds_the_lock_and_makes_nothing(real_terraform: Any) -> None:
    real_terraform.lock.lock(OTHER)
    done = real_terraform("apply", "-auto-approve")
    assert done.returncode == 1
    assert "already locked" in done.stderr and "two" in done.stderr
    assert kept() == []


# ---------------------------------------------------------------- an old fence
def taken_over(run: Run) -> Run:
    """The run under its next runner, as after a lapsed lease."""
    rows.lease(run, 3600)
    with unit_of_work() as uow:
        assert run_execution.claim(uow, run.task_id) is not None
    with unit_of_work() as uow:
        return uow.session.get_one(Run, run.id)


def test_of_two_applies_of_one_run_only_that_of_the_new_fence_writes(terraform: Terraform, terraform_of: Callable[[Run], Terraform]) -> None:
    new = terraform_of(taken_over(terraform.run))
    assert terraform.post(rows.state(6, old={"vm_id": 7})) == 409
    assert new.post(rows.state(6, new={"vm_id": 8})) == 200
    assert terraform.post(rows.state(7, old={"vm_id": 7})) == 409
    assert terraform.ask("LOCK", MINE)[0] == 409
    assert [serial for serial, _ in kept()] == [5, 6] and b'"new"' in kept()[-1][1]
    assert (terraform.told, new.told) == (["stop"] * 3, [])


def test_an_ended_run_writes_no_state(terraform: Terraform) -> None:
    with unit_of_work() as uow:
        run_execution.end(uow, terraform.run.id, terraform.run.fence, RunState.APPLIED, {})
    assert terraform.post(rows.state(6)) == 409
    assert [serial for serial, _ in kept()] == [5] and terraform.told == ["stop"]


def test_old_and_new_at_the_same_moment_leave_one_history(app: Flask, terraform: Terraform, terraform_of: Callable[[Run], Terraform]) -> None:
    new = terraform_of(taken_over(terraform.run))
    start = threading.Barrier(2)
    answers: dict[str, list[int]] = {}

    def write(name: str, who: Terraform) -> None:
        start.wait(20)
        answers[name] = [who.post(rows.state(serial, **{name: {"vm_id": serial}})) for serial in range(6, 26)]

    threads = [threading.Thread(target=write, args=pair) for pair in (("old", terraform), ("new", new))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {"old": [409] * 20, "new": [200] * 20}
    assert [serial for serial, _ in kept()] == list(range(5, 26))
    assert not any(b'"old"' in body for _, body in kept())


def test_the_terraform_of_an_old_fence_is_interrupted(app: Flask, terraform: Terraform, tmp_path: Path) -> None:
    """A refusal alone stops nothing: Terraform would go on making servers."""
    program = (
        "import os, pathlib, signal\n"
        "signal.signal(signal.SIGINT, lambda *_: (pathlib.Path('interrupted').touch(), os._exit(0)))\n"
        "pathlib.Path('ready').touch()\n"
        "while True: signal.pause()\n"
    )
    keeper = Keeper(os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT))
    old = StateServer(app, terraform.run.id, terraform.run.workspace_id, terraform.run.fence, keeper.stop)
    try:
        keeper.start([sys.executable, "-c", program], tmp_path, dict(os.environ), "apply")
        until((tmp_path / "ready").exists)
        taken_over(terraform.run)
        assert old.answer("POST", "", rows.state(6)) == (409, b"")
        until((tmp_path / "interrupted").exists)
    finally:
        old.close()
        keeper.sock.close()
        os.waitpid(keeper.pid, 0)

