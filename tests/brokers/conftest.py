"""One instance of the product on each broker: Valkey, which it starts itself, and RabbitMQ, where that is installed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.rabbitmq import MISSING, RabbitMQ, rabbitmq, there
from tests.stack import Stack, running


@dataclass
class On:
    """An instance and its broker; `rabbit` is None on Valkey."""

    stack: Stack
    rabbit: RabbitMQ | None = None


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def on(request: pytest.FixtureRequest) -> Iterator[On]:
    if request.param == "valkey":
        with running() as stack:
            yield On(stack)
        return
    if not there():
        assert not os.environ.get("REQUIRE_RABBITMQ"), MISSING
        pytest.skip(MISSING)
    with rabbitmq() as broker, running(CELERY_BROKER_URL=broker.url) as stack:
        yield On(stack, broker)
