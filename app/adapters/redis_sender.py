"""Kombu's Redis transport for a process that sends one message at a time: it keeps its client.

Kombu makes one for every message, which takes as long as a third of the sending.
"""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel whose clients for sending are one, for as long as its pool of connections is."""

    _sender: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._sender is None or self._sender.connection_pool is not self.pool:
            self._sender = super()._create_client()
        return self._sender


class Transport(redis.Transport):
    """Redis, with such channels."""

    Channel = Channel
