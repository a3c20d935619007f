"""A few rounds of the chaos suite with a seed that is always the same; `make chaos` does many."""

import pytest

from tests.chaos.__main__ import suite
from tests.chaos.faults import FAULTS

SEED, ROUNDS = 20, 3


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_doubled() -> None:
    report = suite(SEED, ROUNDS, [], None)
    print(report.table(FAULTS))
    assert report.violations == []
    assert report.hits, "no fault met a run"
