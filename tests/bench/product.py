"""The running product as the bench sees it: its API, its event stream, and the simulated cluster behind it."""

import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.stack import FINAL, Api, Stack, eventually

# A template of the simulated cluster as it is: its servers have a guest agent, which the provider waits for.
WITH_AGENT = "debian-12"
# The first template without its agent: that wait, the same on both sides, would hide what is measured.
PLAIN, _PLAIN_VMID = "plain", 9000
# The product's own default; the suites' stack starts fewer.
TERRAFORM_WORKERS = 10
# The provider asks once a second whether a task has ended, so every task that is not at its first question adds a
# second of waiting to both sides and hides what is measured. Only clones take time, a little less than what is asked
# for: at exactly a second chance would decide whether the second question comes in time.
SCALE = 0.0
ONE_SECOND = 0.95
TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Seen:
    """An event of the stream and when it was read (monotonic seconds)."""

    at: float
    type: str
    data: dict[str, Any]


class Watch:
    """One reader of `/api/stream`: keeps every event with the moment it came."""

    def __init__(self, base: str, token: str) -> None:
        self._events: list[Seen] = []
        self._more = threading.Condition()
        self._over = False
        parts = urlsplit(base)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._connection.request("GET", "/api/stream", headers={"Authorization": f"Bearer {token}"})
        self._socket = self._connection.sock  # an answer without an end takes it from the connection
        self._answer = self._connection.getresponse()
        if self._answer.status != 200:
            raise RuntimeError(f"/api/stream answers {self._answer.status}")
        while not self._answer.readline().startswith(b": hello"):
            pass
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream."""
        # The reader may hang in recv: only a shutdown wakes it and tells the other side.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def position(self) -> int:
        """Return where the next event will stand."""
        with self._more:
            return len(self._events)

    def until(self, done: Callable[[Seen], bool], since: int, timeout_s: float = TIMEOUT_S) -> float:
        """Return when the event came of which `done` says True; every event from `since` on is shown to it once."""
        end = time.monotonic() + timeout_s
        while True:
            with self._more:
                while len(self._events) <= since:
                    if self._over or not self._more.wait(max(end - time.monotonic(), 0)):
                        raise RuntimeError("the event stream ended" if self._over else f"not told within {timeout_s:.0f} s")
                event = self._events[since]
            since += 1
            if done(event):
                return event.at

    def _read(self) -> None:
        type_, data = "", ""
        try:
            while line := self._answer.readline():
                at, text = time.monotonic(), line.decode().rstrip("\n")
                name, _, value = text.partition(": ")
                if name == "event":
                    type_ = value
                elif name == "data":
                    data = value
                elif not text and type_:
                    with self._more:
                        self._events.append(Seen(at, type_, json.loads(data)))
                        self._more.notify_all()
                    type_ = ""
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # closed
        finally:
            with self._more:
                self._over = True
                self._more.notify_all()


class Product:
    """A started stack with an administrator's token and an open event stream."""

    def __init__(self, stack: Stack, api: Api, watch: Watch) -> None:
        self.stack, self.api, self.watch = stack, api, watch
        self.info = stack.info
        self.data_dir = Path(self.info["data_dir"])
        self._names = 0

    def control(self, op: str, **arguments: Any) -> Any:
        """Use the simulator's control port (the stack's own method asks for its address each time)."""
        request = urllib.request.Request(f"{self.info['simulator']['control']}/{op}", data=json.dumps(arguments).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def pace(self, clone_s: float) -> None:
        """Let every clone take that long."""
        self.control("time", scale=SCALE, clone_seconds=clone_s)

    def make_plain_template(self) -> None:
        """Take the guest agent from a template, and wait until the product has read that (a new name makes it look)."""
        self.control("set", vmid=_PLAIN_VMID, config={"agent": "0"})
        self.control("rename", vmid=_PLAIN_VMID, name=PLAIN)
        eventually(self._plain_template_seen, 60, f"template {PLAIN} without an agent")

    def _plain_template_seen(self) -> bool:
        return any(t["name"] == PLAIN and not t["agent"] for t in self.api.get("/api/templates")["items"])

    def new_name(self) -> str:
        """Return a name nobody used before."""
        self._names += 1
        return f"ours-{self._names}"

    def create(self, name: str, count: int = 1, template: str = PLAIN) -> tuple[float, dict[str, Any]]:
        """Ask for servers and wait until the stream calls all of them running; seconds since the request, and its answer."""
        since, began = self.watch.position(), time.monotonic()
        asked = self.api.create(name, template, count=count)
        ended = self.watch.until(all_running(asked["servers"]), since)
        return ended - began, asked

    def run_ended(self, run_id: int, since: int, state: str) -> float:
        """Return when the run came to that state. Raises RuntimeError when it ended otherwise."""
        return self.watch.until(lambda event: _reached(event, run_id, state), since)

    def check_running(self, names: Sequence[str]) -> None:
        """Make sure that the simulated cluster has these servers running. Raises RuntimeError."""
        status = {vm["name"]: vm["status"] for vm in self.control("vms")}
        wrong = {name: status.get(name) for name in names if status.get(name) != "running"}
        if wrong:
            raise RuntimeError(f"not running in the simulated cluster: {wrong}")

    def remove(self, names: Sequence[str]) -> None:
        """Take guests out of the simulated cluster, so that rounds stay equal; the product's rows stay."""
        wanted = set(names)
        for vm in self.control("vms"):
            if vm["name"] in wanted:
                self.control("delete", vmid=vm["vmid"])

    def inputs_of(self, run_id: int) -> dict[str, Any]:
        """Return the module's inputs that the product rendered for a run."""
        found: dict[str, Any] = self.stack.sql(f"select inputs from run where id = {int(run_id)}")[0][0]
        return found


def all_running(names: Sequence[str]) -> Callable[[Seen], bool]:
    """A judge for `Watch.until`: true at the last of these servers that is said to run."""
    left = set(names)

    def done(event: Seen) -> bool:
        if event.type == "run" and event.data["state"] in ("errored", "canceled") and left & set(event.data["names"]):
            raise RuntimeError(f"run {event.data['id']} ended {event.data['state']}")
        if event.type == "server" and event.data["status"] == "running":
            left.discard(event.data["name"])
        return not left

    return done


def _reached(event: Seen, run_id: int, state: str) -> bool:
    if event.type != "run" or event.data["id"] != run_id:
        return False
    if event.data["state"] in FINAL - {state}:
        raise RuntimeError(f"run {run_id} ended {event.data['state']} instead of {state}")
    return bool(event.data["state"] == state)


@contextmanager
def product(place: Path, **environment: str) -> Iterator[Product]:
    """Start an instance of its own below `place`, stopped at the end."""
    given = {"TERRAFORM_WORKERS": str(TERRAFORM_WORKERS), "SIM_TIME_SCALE": str(SCALE), "SIM_CLONE_SECONDS": "0"}
    stack = Stack(place / "var", given | environment)
    try:
        stack.start()
        api = stack.api()
        with Watch(api.base, api.token) as watch:
            yield Product(stack, api, watch)
    finally:
        stack.stop()


@contextmanager
def connection(base: str) -> Iterator[http.client.HTTPConnection]:
    """A connection that is kept for several requests."""
    parts = urlsplit(base)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as made:
        yield made
