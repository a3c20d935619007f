"""A run's log as Server-Sent Events: what is there already, then each addition, then `end`.

The id of an event is the byte offset behind its text, so Last-Event-ID resumes exactly.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.log import get_logger
from app.streaming import sse
from app.streaming.broker import Broker, Client

log = get_logger(__name__)


@dataclass(frozen=True)
class Piece:
    """Text from an offset on, and the offset behind it; `final_state` once the run is over."""

    text: str
    next_offset: int
    final_state: str | None


class LogFeed:
    """What the web server iterates. `read` asks the database; it is called when an event says there is more."""

    def __init__(self, source: Broker, client: Client, read: Callable[[int], Piece], offset: int) -> None:
        self._source, self._client, self._read, self._offset = source, client, read, offset
        self._chunks = self._run()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """The web server calls this when the client has gone."""
        self._source.unsubscribe(self._client)

    def _run(self) -> Iterator[bytes]:
        # What came before needs no room: the text is read from the database.
        self._client.started = True
        yield sse.hello()
        while not self._client.closing:
            try:
                piece = self._read(self._offset)
            except Exception as exc:  # noqa: BLE001 - the client comes back with its offset
                log.warning("run_log_unreadable", reason=type(exc).__name__)
                return
            if piece.text:
                self._offset = piece.next_offset
                yield sse.frame("log", piece.text, str(piece.next_offset))
                continue
            if piece.final_state:
                yield sse.frame("end", json.dumps({"state": piece.final_state}), str(self._offset))
                return
            words, over = self._wait()
            if words:
                yield words
            if over:
                return

    def _wait(self) -> tuple[bytes, bool]:
        """Wait for a sign of more; returns what to pass on, and whether the stream is over."""
        waiting = self._client.queue
        items = [waiting.get()]
        while not waiting.empty():
            items.append(waiting.get())
        # Entries only say that there is more; what carries no entry's id (heartbeat, signed-out) is for the client.
        return b"".join(frame for id_, frame in items if id_ == sse.START), not all(frame for _, frame in items)
