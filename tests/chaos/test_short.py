"""A few rounds of the chaos suite with a seed that is always the same; `make chaos` does many."""

import pytest

from tests.chaos import faults_points
from tests.chaos.__main__ import suite
from tests.chaos.faults import FAULTS

SEED, ROUNDS = 2214, 3


@pytest.mark.chaos
def test_nothing_is_lost_and_nothing_is_doubled() -> None:
    report = suite(SEED, ROUNDS, [], None)
    print(report.table(FAULTS))
    assert report.violations == []
    chosen = {fault.name for fault in faults_points.FAULTS}
    assert chosen & {hit.fault for hit in report.hits}, "nothing was struck at a chosen point"
