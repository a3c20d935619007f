"""Notifications: one per person and event, told to the right browsers, read by their owner only."""

from app.domain.server_status import Severity
from app.services import notifications
from app.services.uow import unit_of_work


def _add(users, key="run:1:applied", own=None, code="run_applied"):
    with unit_of_work() as uow:
        notifications.add(uow, [u.id for u in users], key, code, {"names": ["web-1"]}, Severity.SUCCESS, "/runs/1", own)


def test_an_event_written_twice_notifies_each_recipient_once(make_user, told):
    alice, bob = make_user(), make_user()
    for _ in range(2):
        _add([alice, bob, alice], own=alice.id)
    sent = told()
    assert [(a, d["own"], d["unread"]) for a, _, d in sent] == [
        (f"user:{alice.id}", True, 1),
        (f"user:{bob.id}", False, 1),
    ]
    assert set(sent[0][2]) == {"id", "code", "args", "severity", "link", "own", "unread"}


def test_the_list_is_ones_own_newest_first_and_goes_on_by_cursor(make_user, client_for):
    alice, bob = make_user(), make_user()
    for n in range(3):
        _add([alice], key=f"e{n}", code=f"code_{n}")
    _add([bob], key="e9")
    client = client_for(alice)
    first = client.get("/api/notifications?limit=2").json
    assert [i["code"] for i in first["items"]] == ["code_2", "code_1"]
    assert first["items"][0].keys() >= {"code", "args", "text", "severity", "read_at", "link"}
    rest = client.get(f"/api/notifications?limit=2&cursor={first['next_cursor']}").json
    assert [i["code"] for i in rest["items"]] == ["code_0"]
    assert rest["next_cursor"] is None
    assert client.get("/api/notifications?cursor=zzz").status_code == 422


def test_reading_one_tells_the_other_tabs_and_is_harmless_again(make_user, client_for, told):
    alice = make_user()
    _add([alice], key="a")
    _add([alice], key="b")
    client = client_for(alice)
    newest = client.get("/api/notifications").json["items"][0]["id"]
    once = client.post(f"/api/notifications/{newest}/read").json["read_at"]
    assert client.post(f"/api/notifications/{newest}/read").json["read_at"] == once
    assert [d for _, e, d in told() if e == "notification-read"] == [{"read": [newest], "unread": 1}]
    assert client.get("/api/notifications").json["unread"] == 1


def test_three_hundred_unread_are_read_in_one_call(make_user, client_for):
    alice = make_user()
    for n in range(300):
        _add([alice], key=f"e{n}")
    client = client_for(alice)
    assert client.get("/api/notifications").json["unread"] == 300
    assert client.post("/api/notifications/read-all").json["read"] == 300
    assert client.get("/api/notifications?unread=true").json["items"] == []


def test_somebody_elses_notification_is_not_there(make_user, client_for):
    alice = make_user()
    _add([alice])
    own = client_for(alice).get("/api/notifications").json["items"][0]["id"]
    assert client_for(make_user("administrator")).post(f"/api/notifications/{own}/read").status_code == 404
