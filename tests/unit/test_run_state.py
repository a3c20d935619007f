"""The table of a run's states is complete and agrees with the sweeper."""

import pytest

from app.domain.run_state import ACTIVE, FINAL, MOVERS, TRANSITIONS, RunState, can_move


def test_every_state_has_transitions_and_a_mover() -> None:
    assert set(TRANSITIONS) == set(MOVERS) == set(RunState)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_an_end_is_an_end(state: RunState) -> None:
    assert not TRANSITIONS[state]
    assert MOVERS[state].rule is None


@pytest.mark.parametrize("state", sorted(set(RunState) - FINAL))
def test_what_is_not_final_can_be_canceled_and_fail_and_is_swept(state: RunState) -> None:
    assert can_move(state, RunState.CANCELED)
    assert can_move(state, RunState.ERRORED)
    assert MOVERS[state].rule


def test_every_state_is_reached_from_pending() -> None:
    seen, todo = set(), [RunState.PENDING]
    while todo:
        state = todo.pop()
        if state not in seen:
            seen.add(state)
            todo.extend(TRANSITIONS[state])
    assert seen == set(RunState)


def test_a_waiting_plan_holds_its_workspace() -> None:
    assert RunState.PLANNED in ACTIVE
    assert RunState.PENDING not in ACTIVE
