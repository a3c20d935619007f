"""A few rounds of the chaos suite with a seed that is always the same; `make chaos` does many."""

import random

import pytest

from tests.chaos.__main__ import CLONE_S
from tests.chaos.suite import run
from tests.chaos.world import World
from tests.stack import running

SEED, ROUNDS = 20, 3


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_doubled() -> None:
    with running(SIM_CLONE_SECONDS=CLONE_S) as stack:
        report = run(World(stack, random.Random(SEED)), ROUNDS, SEED)  # noqa: S311 - repeatable, not secret
    print(report.table())
    assert report.violations == []
    assert report.hits, "no fault met a run"
