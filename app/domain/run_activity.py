"""What Proxmox does for a run, by server: {"step": …, "percent": …}. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

DONE = "done"  # Terraform has said that it is finished with this server


def working(activity: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that something is being done to now."""
    return {slug: now for slug, now in activity.items() if not is_done(now)}


def is_done(now: Mapping[str, Any]) -> bool:
    """Return whether Terraform is finished with a server, by its entry."""
    return bool(now.get("step") == DONE)


def done_of(activity: Mapping[str, Any]) -> frozenset[str]:
    """Return the slugs that Terraform is finished with."""
    return frozenset(slug for slug, now in activity.items() if is_done(now))


def finished(slugs: Iterable[str]) -> dict[str, Any]:
    """Return the entries of servers that Terraform is finished with."""
    return {slug: {"step": DONE} for slug in sorted(slugs)}
