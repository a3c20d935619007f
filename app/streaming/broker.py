"""One reader of the event stream per web process that has clients, and the clients it fans out to.

    client = Client(user_id, topics, ...)
    broker.subscribe(client)                 # from here on nothing is missed
    missed = broker.replay(client, last_id)  # what came before, or one `reset`
    Response(Feed(broker, client, missed))   # streaming/feed.py

A frame is made once per event, the audience is decided once per user. A client whose queue is full is dropped (one that has
not begun to read is told to start anew) and its
socket shut: it comes back with Last-Event-ID.
"""

import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from app.log import get_logger
from app.streaming import sse
from app.streaming.events import STREAM

log = get_logger(__name__)
QUEUE = 512
REPLAY = 2_000
# Ids are times: after a flush on a machine whose clock was set back nothing wakes the reader, and it looks by itself.
BLOCK_MS = 4_000
# How often the reader looks whether what it read from is still there.
CHECK_S = 1.0
HEARTBEAT_S = 15
RETRY_S = 0.5
TYPES = frozenset({"notification", "server", "run", "log", "action", "cluster", "workspace", "statistics", "schedule", "safe_change"})

Item = tuple[sse.EntryId, bytes]  # an empty frame ends the stream
CLOSE = b""


@dataclass(frozen=True)
class Rights:
    """What the database says now about a user: the epoch of valid sessions, and whether everybody's events are seen."""

    epoch: int
    sees_all: bool
    tokens: frozenset[int]  # tokens that work


NO_RIGHTS = Rights(-1, False, frozenset())
# None: the user is gone or inactive
ReadRights = Callable[[int], Rights | None]


@dataclass(eq=False)
class Client:
    """One open stream. Topics are event types, or `type:ID` for one object's events only."""

    user_id: int
    topics: frozenset[str]
    epoch: int
    session_mark: str = ""
    token_id: int | None = None
    sock: socket.socket | None = None
    queue: "queue.SimpleQueue[Item]" = field(default_factory=queue.SimpleQueue)
    closing: bool = False
    started: bool = False  # its feed is being iterated
    overrun: bool = False  # more came before that than it can hold: it must start anew
    beat: int = 0  # in which second of each HEARTBEAT_S it hears from us


@dataclass(eq=False)
class _User:
    rights: Rights
    clients: set[Client] = field(default_factory=set)


@dataclass(frozen=True)
class Entry:
    """One entry of the stream, and its frame, made once for all clients."""

    id: sse.EntryId
    audience: str
    topic: str
    object_topic: str
    frame: bytes
    data: str
    type: str

    @classmethod
    def of(cls, id_: str, fields: dict[str, str]) -> "Entry":
        type_, data = fields["e"], fields["d"]
        topic = type_.partition("-")[0]  # notification-read goes to whoever asked for notification
        object_topic = f"{topic}:"
        if topic in ("log", "run"):
            values = json.loads(data)
            object_topic += str(values.get("run") or values.get("id"))
        return cls(
            sse.parse_id(id_) or sse.START, fields["a"], topic, object_topic, sse.frame(type_, data, id_), data, type_
        )


def may_have(client: Client, rights: Rights, entry: Entry) -> bool:
    """True when the client asked for such events and its user may see this one."""
    audience, _, owners = entry.audience.partition(":")
    seen = audience == "all" or str(client.user_id) in owners.split(",") or (audience == "owner" and rights.sees_all)
    return seen and (entry.topic in client.topics or entry.object_topic in client.topics)


def is_valid(client: Client, rights: Rights) -> bool:
    """True while the client's session or token is one that works."""
    return client.epoch == rights.epoch if client.token_id is None else client.token_id in rights.tokens


class Broker:
    """The clients of this process and the thread (a greenlet, under gevent) that feeds them."""

    def __init__(
        self, url: str, read_rights: ReadRights, on_count: Callable[[int], None] = lambda _count: None
    ) -> None:
        # A blocking read lasts BLOCK_MS; redis-py's own limit of 5 s would break it.
        self._blocking = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=BLOCK_MS / 1000 + 5, socket_connect_timeout=2, retry=None
        )
        self._redis = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2, retry=None
        )
        self._read_rights, self._on_count = read_rights, on_count
        self._users: dict[int, _User] = {}
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._joined = 0
        self._last = "0-0"

    @property
    def client_count(self) -> int:
        return sum(len(user.clients) for user in list(self._users.values()))

    def head(self) -> str:
        """Return the id of the newest entry. Raises RedisError."""
        newest = self._redis.xrevrange(STREAM, count=1)
        return str(newest[0][0]) if newest else "0-0"

    def subscribe(self, client: Client) -> bool:
        """Begin to collect events for the client; False when its user may not have any. Raises RedisError."""
        with self._lock:
            user = self._users.setdefault(client.user_id, _User(NO_RIGHTS))
            user.clients.add(client)
            self._joined += 1
            client.beat = self._joined % HEARTBEAT_S
        self._on_count(self.client_count)
        try:
            self._start()
        except redis.RedisError:
            self.unsubscribe(client)
            raise
        # Read after joining: a change from here on reaches this client.
        return self._apply_rights(client.user_id) and client in user.clients

    def unsubscribe(self, client: Client) -> None:
        """Forget the client; again is harmless."""
        with self._lock:
            user = self._users.get(client.user_id)
            if user is not None:
                user.clients.discard(client)
                if not user.clients:
                    del self._users[client.user_id]
        self._on_count(self.client_count)

    def replay(self, client: Client, last_id: str | None) -> Item:
        """Return what the client missed since `last_id`, and up to which entry; a `reset` when that cannot be known.

        Raises RedisError.
        """
        if not last_id:
            # An id without an event: a client that loses the connection before its first event can resume too.
            return sse.START, f"id: {self.head()}\n\n".encode()
        known = sse.parse_id(last_id)
        if known is not None and (last_id == "0-0" or self._redis.xrange(STREAM, last_id, last_id, count=1)):
            entries: Any = self._redis.xrange(STREAM, f"({last_id}", "+", count=REPLAY + 1)
            if len(entries) <= REPLAY:
                rights = self._users[client.user_id].rights
                made = [Entry.of(id_, fields) for id_, fields in entries]
                return (made[-1].id if made else known), b"".join(e.frame for e in made if may_have(client, rights, e))
        head = self.head()
        return sse.parse_id(head) or sse.START, sse.frame("reset", "{}", head)

    def _start(self) -> None:
        with self._lock:
            if self._reader is not None and self._reader.is_alive():
                return
            # Known before the client asks what it missed: nothing after that is missed.
            self._last = self.head()
            self._reader = threading.Thread(target=self._read, name="events", daemon=True)
            self._reader.start()
            threading.Thread(target=self._heartbeat, name="heartbeat", args=(self._reader,), daemon=True).start()

    def _heartbeat(self, reader: threading.Thread) -> None:
        """Say something to each client every HEARTBEAT_S, a part of them each second: that also finds the dead ones."""
        item, second = (sse.START, sse.HEARTBEAT), 0
        while reader.is_alive():
            time.sleep(1)
            second = (second + 1) % HEARTBEAT_S
            for user in list(self._users.values()):
                for client in list(user.clients):
                    if client.beat == second and client.queue.empty():
                        client.queue.put(item)

    def _idle(self) -> bool:
        """True when nobody listens any more; the reader then ends, and the next client begins another."""
        with self._lock:
            if self._users:
                return False
            self._reader = None
        return True

    def _read(self) -> None:
        # The first entry that was read from since the stream was last known to be unbroken; with its beginning nothing is lost.
        unproven, proven_at = "0-0", time.monotonic()
        while not self._idle():
            try:
                block_ms = int(CHECK_S * 1000)
                if unproven == "0-0":
                    unproven, block_ms = self._last, BLOCK_MS
                answer: Any = self._blocking.xread({STREAM: self._last}, count=500, block=block_ms)
                for _, entries in answer or ():
                    for id_, fields in entries:
                        self._last = id_
                        self._fan_out(id_, fields)
                if not answer or time.monotonic() - proven_at >= CHECK_S:
                    self._check_unbroken(unproven)
                    unproven, proven_at = "0-0", time.monotonic()
            except redis.RedisError as exc:
                log.warning("event_stream_unreadable", reason=type(exc).__name__)
                time.sleep(RETRY_S)
            except Exception:  # a reader that died would silence every browser
                log.exception("event_not_delivered")
        # A later reader may have begun with another connection of the pool: only those that nobody holds are closed.
        self._blocking.connection_pool.disconnect(inuse_connections=False)

    def _check_unbroken(self, before: str) -> None:
        """When the entry we read from is gone (Redis was flushed or lost), everybody is told to start anew, and comes back.

        Told, since who comes back with the id of an entry that was written meanwhile would find it there.
        """
        if before != "0-0" and not self._redis.xrange(STREAM, before, before, count=1):
            log.warning("event_stream_lost")
            self._last = self.head()
            for user in list(self._users.values()):
                for client in list(user.clients):
                    self._end(client, sse.frame("reset", "{}", self._last))

    def _fan_out(self, id_: str, fields: dict[str, str]) -> None:
        try:
            entry = Entry.of(id_, fields)
        except (KeyError, ValueError):
            log.warning("event_unreadable", entry_id=id_)
            return
        if entry.type == "session":
            self._session_changed(int(entry.audience.partition(":")[2]), json.loads(entry.data))
            return
        item = (entry.id, entry.frame)
        for user in self._audience(entry.audience):
            for client in list(user.clients):  # a copy: clients come and go meanwhile
                if entry.topic in client.topics or entry.object_topic in client.topics:
                    if client.queue.qsize() >= QUEUE:
                        if client.started:
                            self.drop(client)
                        else:
                            client.overrun = True
                    else:
                        client.queue.put(item)

    def _audience(self, audience: str) -> list[_User]:
        kind, _, who = audience.partition(":")
        if kind == "all":
            return list(self._users.values())
        if kind == "owner":
            owners = who.split(",")
            return [user for id_, user in list(self._users.items()) if user.rights.sees_all or str(id_) in owners]
        found = self._users.get(int(who))
        return [found] if found else []

    def _session_changed(self, user_id: int, data: dict[str, Any]) -> None:
        user = self._users.get(user_id)
        if user is None:
            return
        if "ended" in data:
            for client in [c for c in user.clients if c.session_mark == data["ended"]]:
                self.sign_out(client)
            return
        for client in user.clients:
            if client.session_mark and client.session_mark == data.get("keep"):
                client.epoch = int(data["epoch"])
        self._apply_rights(user_id, told=True)

    def _apply_rights(self, user_id: int, *, told: bool = False) -> bool:
        try:
            rights = self._read_rights(user_id)
        except Exception as exc:  # noqa: BLE001 - whatever the database's trouble is: nobody keeps old rights
            log.warning("rights_unreadable", user_id=user_id, reason=type(exc).__name__)
            for client in list(self._users[user_id].clients) if user_id in self._users else ():
                self.drop(client)
            return False
        user = self._users.get(user_id)
        if user is None:
            return False
        before, user.rights = user.rights, rights or NO_RIGHTS
        for client in list(user.clients):
            if not is_valid(client, user.rights):
                self.sign_out(client)
            elif told and before.sees_all != user.rights.sees_all:
                client.queue.put((sse.START, sse.frame("reset", "{}")))
        return rights is not None

    def sign_out(self, client: Client) -> None:
        """Tell the client that its session is over, and end the stream."""
        self._end(client, sse.frame("signed-out", "{}"))

    def _end(self, client: Client, word: bytes) -> None:
        self.unsubscribe(client)
        client.queue.put((sse.START, word))
        client.queue.put((sse.START, CLOSE))

    def drop(self, client: Client) -> None:
        """End the stream at once; the client comes back with the id it has."""
        self.unsubscribe(client)
        client.closing = True
        client.queue.put((sse.START, CLOSE))
        if client.sock is not None:
            try:  # its greenlet may hang in send: only the socket can wake it
                client.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
