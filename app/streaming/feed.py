"""The body of an event stream: what the web server iterates for one client."""

from collections.abc import Iterator

from app.streaming import sse
from app.streaming.broker import QUEUE, Broker, Client, Item


class Feed:
    """What the web server iterates: hello, the replay, then events as they come, joined when several wait."""

    def __init__(self, broker: Broker, client: Client, replay: Item) -> None:
        self._broker, self._client = broker, client
        self._chunks = self._run(*replay)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """The web server calls this when the client has gone."""
        self._broker.unsubscribe(self._client)

    def _run(self, seen: sse.EntryId, missed: bytes) -> Iterator[bytes]:
        self._client.started = True
        yield sse.hello() + (sse.frame("reset", "{}") if self._client.overrun else missed)
        waiting = self._client.queue
        while not self._client.closing:
            id_, frame = waiting.get()
            # START marks what is not an entry of the stream; entries may overlap with the replay.
            if waiting.empty() and frame:
                if id_ > seen or id_ == sse.START:
                    yield frame
                continue
            items = [(id_, frame)]
            while not waiting.empty() and len(items) < QUEUE:
                items.append(waiting.get())
            chunk = b"".join(frame for id_, frame in items if id_ > seen or id_ == sse.START)
            if chunk:
                yield chunk
            if not all(frame for _, frame in items):
                return
