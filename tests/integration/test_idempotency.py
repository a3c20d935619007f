"""Idempotency keys: the same request twice is one."""

import threading

import pytest

from app.errors import IdempotencyMismatch, Invalid
from app.services import idempotency
from app.services.idempotency import Stored, digest
from app.services.uow import unit_of_work

ROUTE = "POST /api/servers/async"


def _request(actor, key, body=b"{}", answer=None, done=None):
    def work() -> Stored:
        if done is not None:
            done.append(body)
        return Stored(answer or {"run_id": 7}, "/api/tasks/x")

    with unit_of_work() as uow:
        return idempotency.once(uow, actor, ROUTE, key, digest(body), work)


def test_the_same_key_and_body_give_the_same_answer_without_doing_it_again(make_user, actor_of):
    actor, done = actor_of(make_user()), []
    first = _request(actor, "k1", done=done)
    assert _request(actor, "k1", answer={"run_id": 8}, done=done) == first
    assert len(done) == 1


def test_another_body_under_the_same_key_is_refused(make_user, actor_of):
    actor = actor_of(make_user())
    _request(actor, "k1")
    with pytest.raises(IdempotencyMismatch):
        _request(actor, "k1", b'{"other": 1}')


def test_keys_belong_to_a_user_and_a_route(make_user, actor_of):
    done = []
    _request(actor_of(make_user()), "k1", done=done)
    _request(actor_of(make_user()), "k1", done=done)
    assert len(done) == 2


def test_without_a_key_every_request_counts_and_a_long_one_is_a_fault(make_user, actor_of):
    actor, done = actor_of(make_user()), []
    _request(actor, None, done=done)
    _request(actor, None, done=done)
    assert len(done) == 2
    with pytest.raises(Invalid):
        _request(actor, "k" * 256)


def test_a_failed_request_leaves_the_key_free(make_user, actor_of):
    actor = actor_of(make_user())
    with pytest.raises(RuntimeError), unit_of_work() as uow:
        idempotency.begin(uow, actor, ROUTE, "k1", digest(b"{}"))
        raise RuntimeError
    assert _request(actor, "k1").answer == {"run_id": 7}


def test_a_concurrent_twin_waits_for_the_first_and_gets_its_answer(app, make_user, actor_of):
    actor, got = actor_of(make_user()), []

    def twin() -> None:
        with app.app_context():
            got.append(_request(actor, "k1", answer={"run_id": 8}))

    with unit_of_work() as uow:
        assert idempotency.begin(uow, actor, ROUTE, "k1", digest(b"{}")) is None
        second = threading.Thread(target=twin)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        idempotency.finish(uow, actor, ROUTE, "k1", {"run_id": 7}, "/api/tasks/x")
    second.join(10)
    assert got == [Stored({"run_id": 7}, "/api/tasks/x")]
