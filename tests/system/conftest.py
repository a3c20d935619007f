"""One instance of the whole product for all system tests, and a clean simulated cluster for each."""

from collections.abc import Iterator

import pytest

from tests.stack import Api, Stack, running


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running() as made:
        yield made


@pytest.fixture(scope="session")
def admin(stack: Stack) -> Api:
    return stack.api()


@pytest.fixture(scope="session")
def developer(stack: Stack) -> Api:
    return stack.user("dana", "developer")[0]


@pytest.fixture(scope="session")
def viewer(stack: Stack) -> Api:
    return stack.user("vera", "viewer")[0]


@pytest.fixture(autouse=True)
def _faults_end_with_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stack" in request.fixturenames:
        request.getfixturevalue("stack").control("reset")
