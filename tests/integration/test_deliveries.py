"""Notifications on their way to mailboxes and webhooks, and what somebody wants of them at all."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text, update

from app.adapters import postman
from app.adapters.postman import DeliveryFailed, Message
from app.domain.delivery import DeliveryState, Kind, Mode, kind_of, wait_s
from app.domain.server_status import Severity
from app.domain.tasks import ROUTES, TaskName
from app.models import AuditEvent, Delivery, Destination, Notification, User
from app.services import deliveries, notifications, settings, sweeper
from app.services.uow import unit_of_work
from tests.fixtures.receivers import Hook, Mailbox, serving

Client = Any
Make = Callable[..., Any]


@pytest.fixture
def client(dora: User, client_for: Callable[..., Client]) -> Client:
    return client_for(dora)


@pytest.fixture
def local(app: Any) -> None:
    """Addresses of this host are allowed here: the receivers are."""
    with unit_of_work() as uow:
        settings.write_value(uow.session, settings.RUNTIME_KEY, {"local_destinations": 1})


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving(Hook()) as server:
        yield server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with serving(Mailbox()) as server:
        yield server


def added(client: Client, url: str, **more: Any) -> int:
    answer = client.post("/api/destinations", json={"name": "here", "url": url, **more})
    assert answer.status_code == 201, answer.json
    return int(answer.json["id"])


def notify(user: User, code: str = "run_errored", severity: Severity = Severity.ERROR, key: str = "k", own: bool = True) -> list[int]:
    """Write a notification; the ids of what is to be delivered of it."""
    error = {"code": "node_offline", "args": {"node": "pve1"}}
    args = {"servers": ["web-1"], "kind": "create", "run": 7, "error": error if severity == Severity.ERROR else None}
    with unit_of_work() as uow:
        notifications.add(uow, [user.id], key, code, args, severity, "/runs/7", own_user_id=user.id if own else None)
    with unit_of_work() as uow:
        return list(uow.session.scalars(select(Delivery.id).order_by(Delivery.id)))


def delivery(delivery_id: int) -> Delivery:
    with unit_of_work() as uow:
        return uow.session.get_one(Delivery, delivery_id)


def due_now() -> None:
    with unit_of_work() as uow:
        uow.session.execute(update(Delivery).values(next_at=text("clock_timestamp() - interval '5 s'")))


def test_a_failure_reaches_a_webhook_with_cause_and_link(client: Client, dora: User, local: None, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "get_settings", lambda: type("S", (), {"public_url": "https://servers.example.org/"}))
    added(client, hook.url)
    [one] = notify(dora)
    deliveries.execute(one)
    assert delivery(one).state == DeliveryState.SENT
    [got] = hook.got
    assert "web-1" in got["title"] and "pve1" in got["message"] and "https://servers.example.org/runs/7" in got["message"]
    deliveries.execute(one)
    assert len(hook.got) == 1


def test_a_mail_is_written_in_the_readers_language(client: Client, dora: User, local: None, mailbox: Mailbox) -> None:
    with unit_of_work() as uow:
        uow.session.execute(update(User).where(User.id == dora.id).values(language="ko"))
    added(client, mailbox.url)
    [one] = notify(dora)
    deliveries.execute(one)
    assert delivery(one).state == DeliveryState.SENT, delivery(one).error
    [mail] = mailbox.got
    assert "To: " in mail and "dora@example.org" in mail


def test_what_fails_is_tried_again_later_and_told_with_its_count(client: Client, dora: User, local: None, hook: Hook) -> None:
    hook.answers = [500, 503]
    added(client, hook.url)
    [one] = notify(dora)
    for attempt in (1, 2):
        deliveries.execute(one)
        row = delivery(one)
        assert (row.state, row.attempts, row.error["code"] if row.error else "") == (DeliveryState.PENDING, attempt, "delivery_refused")
        deliveries.execute(one)  # not due yet
        assert delivery(one).attempts == attempt
        due_now()
    deliveries.execute(one)
    assert (delivery(one).state, len(hook.got)) == (DeliveryState.SENT, 1)
    assert "tried 3 times" in client.get("/account/notifications").text


def test_who_never_answers_is_given_up_in_time_and_after_six_tries_for_good(
    client: Client, dora: User, local: None, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "TIMEOUT_S", 3.0)
    hook.answers = [0]
    added(client, hook.url)
    [one] = notify(dora)
    deliveries.execute(one)
    assert delivery(one).error == {"code": "delivery_timeout", "args": {"seconds": 3}}
    with unit_of_work() as uow:
        uow.session.execute(update(Delivery).values(attempts=5))
    hook.answers = [500]
    due_now()
    deliveries.execute(one)
    assert delivery(one).state == DeliveryState.FAILED


def test_a_sender_that_died_is_replaced_when_its_claim_lapses(client: Client, dora: User, local: None, hook: Hook) -> None:
    added(client, hook.url)
    [one] = notify(dora)
    with unit_of_work() as uow:
        assert deliveries._claim(uow, one) is not None  # noqa: SLF001 - and died
    deliveries.execute(one)
    assert hook.got == []
    due_now()
    with unit_of_work() as uow:
        deliveries.sweep(uow)
        assert [m[1]["args"] for m in uow._to_tell] == [[str(one)]]  # noqa: SLF001
    deliveries.execute(one)
    assert len(hook.got) == 1 and delivery(one).attempts == 2


def test_the_sweeper_asks_for_what_is_due_and_for_nothing_else(client: Client, dora: User, local: None, hook: Hook, store: Any) -> None:
    added(client, hook.url)
    notify(dora)
    queue = ROUTES[TaskName.DELIVERY].value
    asked = store.llen(queue)
    sweeper.tick()
    assert store.llen(queue) == asked, "it was just rung for"
    due_now()
    sweeper.tick()
    assert store.llen(queue) == asked + 1


def test_only_failures_when_only_these_are_wanted(client: Client, dora: User, local: None, hook: Hook) -> None:
    added(client, hook.url, level="failures")
    assert notify(dora, "run_applied", Severity.SUCCESS) == []
    assert len(notify(dora, key="other")) == 1


def test_a_test_is_sent_and_its_result_shown(client: Client, local: None, hook: Hook) -> None:
    one = added(client, hook.url)
    sent = client.post(f"/api/destinations/{one}/test")
    assert sent.status_code == 202
    deliveries.execute(sent.json["delivery_id"])
    assert hook.got[0]["title"] == "A test of Terraform Proxmox Manager"
    hook.answers = [404]
    again = client.post(f"/api/destinations/{one}/test").json["delivery_id"]
    deliveries.execute(again)
    assert [(d["state"], d["error"] and d["error"]["code"]) for d in client.get("/api/deliveries").json["items"]] == [("failed", "delivery_refused"), ("sent", None)]


# ---- who may, and where to
@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", "delivery_service_unknown"), ("dbus://", "delivery_service_unknown"), ("nonsense", "delivery_service_unknown"),
        ("json://127.0.0.1/x", "delivery_address_local"), ("json://localhost:5432", "delivery_address_local"), ("jsons://[::1]/", "delivery_address_local"),
        ("json://169.254.169.254/latest/meta-data", "delivery_address_local"), ("json://0.0.0.0/", "delivery_address_local"),
        ("mailto://u:p@example.org?smtp=127.0.0.1", "delivery_address_local"), ("json://no-such-host.invalid/", "delivery_host_unknown"),
    ],
)  # fmt: skip
def test_where_nothing_may_go(url: str, code: str, client: Client) -> None:
    if url.startswith("mailto"):
        url = url.replace("example.org", "192.0.2.1")
    answer = client.post("/api/destinations", json={"name": "x", "url": url})
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, code)


def test_an_address_that_becomes_local_is_refused_when_it_is_sent_to(client: Client, dora: User, local: None, hook: Hook) -> None:
    added(client, hook.url)
    with unit_of_work() as uow:
        settings.write_value(uow.session, settings.RUNTIME_KEY, {})
    [one] = notify(dora)
    deliveries.execute(one)
    assert delivery(one).state == DeliveryState.FAILED and hook.got == []
    with pytest.raises(DeliveryFailed):
        postman.send(hook.url, Message("a", "b"))


def test_addresses_are_kept_encrypted_and_never_shown(client: Client, local: None, hook: Hook) -> None:
    url = hook.url.replace("127.0.0.1", "someone:s3cret@127.0.0.1")
    added(client, url)
    with unit_of_work() as uow:
        assert b"s3cret" not in uow.session.scalars(select(Destination.url)).one()
        assert "s3cret" not in str([(a.object_name, a.detail) for a in uow.session.scalars(select(AuditEvent))])
    assert "s3cret" not in client.get("/api/destinations").text + client.get("/account/notifications").text


def test_an_administrator_may_keep_it_to_administrators(client: Client, client_for: Callable[..., Client], make_user: Make) -> None:
    admin = client_for(make_user("administrator", "root"))
    assert admin.patch("/api/settings", json={"destinations_for_all": 0}).status_code == 200
    assert client.post("/api/destinations", json={"name": "x", "url": "json://192.0.2.1/"}).status_code == 403
    assert admin.post("/api/destinations", json={"name": "x", "url": "json://192.0.2.1/"}).status_code == 201
    assert "switched this off" in client.get("/account/notifications").text


def test_nobody_touches_the_destinations_of_others(client: Client, client_for: Callable[..., Client], make_user: Make) -> None:
    one = added(client, "json://192.0.2.1/")
    other = client_for(make_user("administrator", "root"))
    for method, path in (("patch", ""), ("delete", ""), ("post", "/test")):
        assert getattr(other, method)(f"/api/destinations/{one}{path}", json={}).status_code == 404
    assert client.patch(f"/api/destinations/{one}", json={"enabled": False}).json["enabled"] is False
    assert client.delete(f"/api/destinations/{one}").status_code == 200


# ---- preferences
def test_kinds_are_chosen_one_by_one(client: Client, dora: User) -> None:
    wanted = {"runs_done": "none", "runs_failed": "inbox"}
    assert client.put("/api/notification-preferences", json={"preferences": wanted}).json["preferences"] == {
        "decisions": "toast", "runs_done": "none", "runs_failed": "inbox", "actions_done": "toast", "actions_failed": "toast"
    }  # fmt: skip
    notify(dora, "run_applied", Severity.SUCCESS, "a")
    notify(dora, "run_errored", Severity.ERROR, "b")
    notify(dora, "action_succeeded", Severity.SUCCESS, "c")
    with unit_of_work() as uow:
        told = {n.code: n.own for n in uow.session.scalars(select(Notification))}
    assert told == {"run_errored": False, "action_succeeded": True}
    assert client.put("/api/notification-preferences", json={"preferences": {"weather": "none"}}).status_code == 422


def test_what_is_not_wanted_goes_nowhere_else_either(client: Client, dora: User, local: None, hook: Hook) -> None:
    added(client, hook.url)
    with unit_of_work() as uow:
        notifications.prefer(uow, type("A", (), {"user_id": dora.id})(), {Kind.RUNS_FAILED: Mode.NONE})
    assert notify(dora) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("run_planned", Kind.DECISIONS), ("run_applied", Kind.RUNS_DONE), ("run_errored", Kind.RUNS_FAILED), ("action_succeeded", Kind.ACTIONS_DONE),
        ("snapshot_create_failed", Kind.ACTIONS_FAILED), ("actions_partly_failed", Kind.ACTIONS_FAILED),
    ],
)  # fmt: skip
def test_what_a_notification_is_about(code: str, kind: Kind) -> None:
    assert kind_of(code) == kind


def test_pauses_grow_and_are_spread() -> None:
    assert [round(wait_s(n, 0.5)) for n in range(1, 7)] == [10, 40, 160, 640, 1800, 1800]
    assert wait_s(1, 0) == 7.5 and wait_s(1, 1) == 12.5
