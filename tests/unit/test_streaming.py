"""The fan-out of events, without a server."""

from app.streaming.broker import QUEUE, Broker, Client, Rights, _User
from app.streaming.feed import Feed


def crowd(started: bool) -> tuple[Broker, Client]:
    """A client that has not read one of more events than it can hold."""
    broker = Broker("redis://127.0.0.1:1/0", lambda _user_id: None)
    client = Client(1, frozenset({"cluster"}), epoch=0, started=started)
    broker._users[1] = _User(Rights(0, False, frozenset()), {client})
    for n in range(QUEUE + 5):
        broker._fan_out(f"{n + 1}-0", {"e": "cluster", "a": "all", "d": "{}"})
    return broker, client


def test_a_client_that_does_not_read_is_dropped() -> None:
    broker, client = crowd(started=True)
    assert (client.closing, broker.client_count) == (True, 0)


def test_a_client_that_has_not_begun_to_read_starts_anew_instead() -> None:
    broker, client = crowd(started=False)
    assert (client.closing, broker.client_count) == (False, 1)
    assert b"event: reset" in next(iter(Feed(broker, client, ((0, 0), b"id: 9-0\n\n"))))
