"""A reader of Server-Sent Events for tests: blocks on the socket until the next event."""

import http.client
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Event:
    type: str
    data: str
    id: str


class Events:
    """`with Events(web, "/api/stream", token) as events: event = events.next()`."""

    def __init__(self, web: str, path: str, token: str = "", timeout_s: float = 10, **headers: str) -> None:
        parts = urlsplit(web)
        self._conn = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        self._conn.request("GET", path, headers=given)
        self.response = self._conn.getresponse()
        self.status = self.response.status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.response.close()
        self._conn.close()

    def next(self) -> Event | None:
        """Return the next event; None at the end of the stream."""
        type_, data, id_ = "", [], ""
        while line := self.response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            match name:
                case "event":
                    type_ = value
                case "data":
                    data.append(value)
                case "id":
                    id_ = value
                case "" if type_:
                    return Event(type_, "\n".join(data), id_)
        return None

    def hello(self) -> Self:
        """Wait until the stream is open: from here on nothing is missed."""
        while (line := self.response.readline()) and not line.startswith(b": hello"):
            pass
        return self
