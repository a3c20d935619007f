"""What still counts as the plan that a person approved."""

from typing import Any

import pytest

from app.domain.plan_bounds import Planned, beyond


def change(name: str, action: str, **after: Any) -> Planned:
    return Planned(f"server[{name}]", name, name, action, None, [{"path": path, "before": None, "after": value} for path, value in after.items()])


APPROVED = [change("web-1", "create", cores=2), change("web-2", "update", cores=4, memory=2048), change("web-3", "delete")]


@pytest.mark.parametrize(
    "plan",
    [
        [],
        [change("web-1", "create", cores=2)],
        [change("web-1", "create", cores=2, vm_id=4711)],
        [change("web-1", "import")],
        [change("web-1", "update", cores=2, started=True)],
        [change("web-2", "update", memory=2048)],
        [change("web-3", "delete")],
    ],
    ids=["nothing is left", "the same", "another VMID", "made already", "half made", "one attribute is left", "the deletion"],
)
def test_what_is_left_of_an_approved_plan_lies_within_it(plan: list[Planned]) -> None:
    assert beyond(plan, APPROVED) is None


@pytest.mark.parametrize(
    "plan",
    [
        [change("web-4", "create")],
        [change("web-1", "delete")],
        [change("web-1", "replace")],
        [change("web-2", "replace")],
        [change("web-2", "update", cores=4, tags="x")],
        [change("web-2", "update", cores=8)],
        [change("web-3", "replace")],
    ],
    ids=["another server", "a deletion", "a replacement of a create", "a replacement", "one more attribute", "another value", "deleted and made anew"],
)
def test_more_than_that_needs_a_person_again(plan: list[Planned]) -> None:
    assert beyond(plan, APPROVED) == plan[0]
