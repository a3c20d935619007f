"""The event stream through the real web server: who gets what, exact replay, resets, ends."""

import http.client
import json
import re
import socket
import threading
from urllib.parse import urlsplit

import pytest

from app.services import tokens, users
from app.services.uow import unit_of_work
from app.streaming import events as stream
from app.streaming.broker import QUEUE, REPLAY
from app.streaming.events import STREAM, Event
from tests.conftest import DATA_DIR
from tests.integration.conftest import USER_PASSWORD, until
from tests.integration.sse import Events


def _publish(type_: str, audience: str, **data) -> None:
    assert stream.append([Event(type_, audience, data)])


def _mark(n: int) -> None:
    _publish("cluster", "all", id=n)


def _head(store) -> str:
    return store.xrevrange(STREAM, count=1)[0][0]


def test_an_event_reaches_whoever_may_see_it_and_nobody_else(web, make_user, token_of):
    owner, other, viewer = make_user("developer"), make_user("developer"), make_user("viewer")
    with (
        Events(web, "/api/stream", token_of(owner)) as mine,
        Events(web, "/api/stream", token_of(other)) as foreign,
        Events(web, "/api/stream", token_of(viewer)) as all_seeing,
    ):
        for one in (mine, foreign, all_seeing):
            one.hello()
        _publish("server", f"owner:{owner.id}", id=1)
        _publish("notification", f"user:{other.id}", id=2)
        _mark(3)
        assert [mine.next().type for _ in range(2)] == ["server", "cluster"]
        assert [foreign.next().type for _ in range(2)] == ["notification", "cluster"]
        assert [all_seeing.next().type for _ in range(2)] == ["server", "cluster"]


def test_topics_narrow_the_stream_and_notifications_have_their_own(web, make_user, token_of):
    user = make_user("viewer")
    token = token_of(user)
    with (
        Events(web, "/api/stream?topics=run,log:7", token) as some,
        Events(web, "/api/notifications/stream", token) as bell,
    ):
        some.hello()
        bell.hello()
        _publish("server", "all", id=1)
        _publish("log", "all", run=8, bytes=1)
        _publish("log", "all", run=7, bytes=2)
        _publish("run", "all", id=9)
        _publish("notification", f"user:{user.id}", id=5, code="run_applied")
        assert [some.next().type for _ in range(2)] == ["log", "run"]
        assert json.loads(bell.next().data)["code"] == "run_applied"


def test_fifty_missed_events_come_once_and_in_order(web, make_user, token_of, store):
    token = token_of(make_user("viewer"))
    _mark(0)
    head = _head(store)
    for n in range(1, 51):
        _mark(n)
    with Events(web, "/api/stream", token, Last_Event_ID=head) as again:
        got = [json.loads(again.next().data)["id"] for _ in range(50)]
        _mark(51)
        assert got == list(range(1, 51))
        assert json.loads(again.next().data)["id"] == 51


def test_nothing_falls_between_the_page_and_the_connection(web, make_user, token_of, store):
    token = token_of(make_user("viewer"))
    _mark(0)
    with Events(web, f"/api/stream?last={_head(store)}", token) as first:
        first.hello()
        _mark(1)
        assert json.loads(first.next().data)["id"] == 1
    head = _head(store)
    _mark(2)
    with Events(web, f"/api/stream?last={head}", token) as later:
        assert json.loads(later.next().data)["id"] == 2


@pytest.mark.parametrize("last", ["1-1", "99999999999999-0", "rubbish", "1-", "-1", "0-1", "<b>"])
def test_an_id_that_is_not_in_the_stream_gets_a_reset_and_goes_on(web, make_user, token_of, store, last):
    token = token_of(make_user("viewer"))
    _mark(1)
    with Events(web, "/api/stream", token, Last_Event_ID=last) as again:
        first = again.next()
        assert (first.type, first.id) == ("reset", _head(store))
        _mark(2)
        assert json.loads(again.next().data)["id"] == 2


def test_whoever_is_too_far_behind_starts_anew(web, make_user, token_of, store):
    token = token_of(make_user("viewer"))
    _mark(0)
    head = _head(store)
    with store.pipeline(transaction=False) as pipe:
        for n in range(REPLAY + 1):
            pipe.xadd(STREAM, Event("cluster", "all", {"id": n}).fields())
        pipe.execute()
    with Events(web, "/api/stream", token, Last_Event_ID=head) as again:
        assert again.next().type == "reset"


def _readers(store) -> set[str]:
    """The processes of the web server that read the stream: each has one connection that does nothing else."""
    return {one["id"] for one in store.client_list() if one["cmd"] == "xread"}


def test_when_nobody_listens_nobody_reads_and_the_next_client_is_told_all_the_same(web, make_user, token_of, store):
    token = token_of(make_user("viewer"))
    for n in range(3):
        with Events(web, "/api/stream", token) as open_:
            open_.hello()
            _mark(n)
            assert json.loads(open_.next().data)["id"] == n
            assert _readers(store)

        def nobody_reads() -> bool:
            _mark(99)
            return not _readers(store)

        until(nobody_reads)


def _losses() -> int:
    return (DATA_DIR / "web.log").read_text().count("event_stream_lost")


def _milliseconds(store):
    seconds, micro = store.time()
    return seconds * 1000 + micro // 1000


def test_a_flushed_redis_tells_every_stream_to_start_anew_and_ends_it(web, make_user, token_of, store):
    token = token_of(make_user("viewer"))
    _mark(1)
    with Events(web, f"/api/stream?last={_head(store)}", token) as open_:
        open_.hello()
        _mark(2)
        last = open_.next().id
        readers, losses = _readers(store), _losses()
        store.flushall()
        # Ids are times in milliseconds: an entry of the same one would pass for the one that is gone.
        until(lambda: _milliseconds(store) > int(last.partition("-")[0]))
        _mark(3)
        while (event := open_.next()).type != "reset":
            _mark(4)
        assert open_.next() is None
        _mark(5)
    with Events(web, "/api/stream", token, Last_Event_ID=event.id) as again:
        while (later := again.next()).type != "reset" and json.loads(later.data)["id"] != 5:
            assert json.loads(later.data)["id"] == 4
        assert later.type != "reset"
    with Events(web, "/api/stream", token, Last_Event_ID=last) as older:
        assert older.next().type == "reset"
    # Each process finds out by itself, or ends to read when nobody listens: until then one would tell the next test's clients.
    until(lambda: _losses() - losses >= len(readers & _readers(store)))


def test_strangers_get_204_and_wrong_tokens_401(web):
    with Events(web, "/api/stream") as stranger:
        assert stranger.status == 204
    with Events(web, "/api/stream", "tpm_wrong") as wrong:
        assert wrong.status == 401


def test_the_answer_tells_proxies_and_browsers_what_it_is(web, make_user, token_of):
    with Events(web, "/api/stream", token_of(make_user())) as open_:
        headers = open_.response.headers
        assert headers["Content-Type"].startswith("text/event-stream")
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["Cache-Control"] == "no-store"
        assert open_.response.readline().startswith(b"retry: ")


def test_signing_out_ends_the_streams_of_that_session_and_no_other(web, make_user):
    make_user("viewer", "vera")
    first, second = _browser(web), _browser(web)
    with Events(web, "/api/stream", Cookie=first[0]) as one, Events(web, "/api/stream", Cookie=second[0]) as other:
        one.hello()
        other.hello()
        _post(web, "/logout", *first)
        assert one.next().type == "signed-out"
        assert one.next() is None
        _mark(1)
        assert other.next().type == "cluster"
    with Events(web, "/api/stream", Cookie=first[0]) as again:
        assert again.status == 204


def test_signing_out_everywhere_ends_the_other_sessions_streams(web, make_user):
    make_user("viewer", "vera")
    here, there = _browser(web), _browser(web)
    with Events(web, "/api/stream", Cookie=here[0]) as mine, Events(web, "/api/stream", Cookie=there[0]) as other:
        mine.hello()
        other.hello()
        _post(web, "/account/sign-out-everywhere", *here)
        assert other.next().type == "signed-out"
        _mark(1)
        assert mine.next().type == "cluster"


def test_a_change_of_rights_reaches_open_streams(web, make_user, token_of, actor_of):
    owner, admin, user = make_user(), make_user("administrator"), make_user("viewer")
    with Events(web, "/api/stream", token_of(user)) as open_:
        open_.hello()
        _publish("server", f"owner:{owner.id}", id=1)
        assert open_.next().type == "server"
        with unit_of_work() as uow:
            users.change_role(uow, actor_of(admin), user.id, users.Role.DEVELOPER)
        assert open_.next().type == "reset"
        _publish("server", f"owner:{owner.id}", id=2)
        _mark(3)
        assert open_.next().type == "cluster"
        with unit_of_work() as uow:
            users.deactivate(uow, actor_of(admin), user.id)
        assert open_.next().type == "signed-out"


def test_a_revoked_token_ends_its_stream(web, make_user, token_of, actor_of):
    user = make_user("viewer")
    token = token_of(user)
    with Events(web, "/api/stream", token) as open_:
        open_.hello()
        with unit_of_work() as uow:
            tokens.revoke_token(uow, actor_of(user), tokens.list_own(uow.session, user.id)[0].id)
        assert open_.next().type == "signed-out"


def test_a_client_that_never_reads_is_dropped_and_the_others_go_on(web, make_user, token_of):
    user = make_user("viewer")
    token, parts = token_of(user), urlsplit(web)
    with socket.create_connection((parts.hostname, parts.port)) as stuck, Events(web, "/api/stream", token) as reader:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(f"GET /api/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert stuck.recv(12) == b"HTTP/1.1 200"
        reader.hello()
        got, done = [], threading.Event()

        def read() -> None:
            while (event := reader.next()) is not None and event.type != "run":
                got.append(event)
            done.set()

        thread = threading.Thread(target=read)
        thread.start()
        big = "x" * 16_000
        for n in range(QUEUE * 2):
            stream.append([Event("cluster", "all", {"id": n, "pad": big})])
        _publish("run", "all", id=1)
        assert done.wait(30)
        thread.join()
        assert len(got) == QUEUE * 2
        until(lambda: _open_streams(web) == 1)


def test_redis_down_is_a_503_for_a_new_stream(web, make_user, token_of, valkey):
    token = token_of(make_user("viewer"))
    valkey.stop()
    try:
        with Events(web, "/api/stream", token) as refused:
            assert refused.status == 503
            assert refused.response.headers["Retry-After"]
    finally:
        valkey.start()
        until(valkey.ready)
        stream.after_fork()

    def works() -> bool:
        with Events(web, "/api/stream", token) as open_:
            return open_.status == 200

    until(works)


def _open_streams(web: str) -> int:
    parts = urlsplit(web)
    conn = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    conn.request("GET", "/metrics")
    text = conn.getresponse().read().decode()
    conn.close()
    return int(float(re.search(r"^tpm_sse_clients (\S+)", text, re.MULTILINE).group(1)))


def _browser(web: str) -> tuple[str, str]:
    """Sign vera in; returns her cookie and a CSRF token."""
    cookie, page = _request(web, "GET", "/login")
    fields = f"username=vera&password={USER_PASSWORD.replace(' ', '+')}&csrf_token={_token(page)}"
    cookie, _page = _request(web, "POST", "/login", cookie, fields)
    return cookie, _token(_request(web, "GET", "/account", cookie)[1])


def _post(web: str, path: str, cookie: str, token: str) -> None:
    _request(web, "POST", path, cookie, f"csrf_token={token}")


def _token(page: str) -> str:
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page).group(1)


def _request(web: str, method: str, path: str, cookie: str = "", body: str = "") -> tuple[str, str]:
    parts = urlsplit(web)
    conn = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | ({"Cookie": cookie} if cookie else {})
    conn.request(method, path, body or None, headers)
    answer = conn.getresponse()
    text, fresh = answer.read().decode(), answer.headers["Set-Cookie"]
    conn.close()
    return (fresh.partition(";")[0] if fresh else cookie), text
