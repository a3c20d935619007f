"""Whether a plan stays within the one that a person approved, address by address and attribute by attribute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Planned:
    """One planned change; `attributes` are {"path", "before", "after", "sensitive", "unknown"}."""

    address: str
    slug: str
    name: str
    action: str
    reason: str | None = None
    attributes: Sequence[Mapping[str, Any]] = ()


# An approved create may come back as the import of the VM that it made, with what was still to be set; a plan that
# was made before a collision has another VMID for it. The values are the stored inputs' either way.
_SAME = {"create": frozenset({"create", "import", "update"}), "import": frozenset({"import", "update"})}


def beyond(plan: Sequence[Planned], approved: Sequence[Planned]) -> Planned | None:
    """Return the first change that the approved plan did not hold; None when the plan lies within it."""
    by_address = {change.address: change for change in approved}
    for change in plan:
        before = by_address.get(change.address)
        if before is None or change.action not in _SAME.get(before.action, {before.action}):
            return change
        if before.action == "update" and not _within(change, before):
            return change
    return None


def _within(change: Planned, approved: Planned) -> bool:
    shown = {str(a["path"]): a.get("after") for a in approved.attributes}
    # What nobody was shown cannot be told apart; Terraform's own address check is all there is then.
    return not shown or all(str(a["path"]) in shown and a.get("after") == shown[str(a["path"])] for a in change.attributes)
