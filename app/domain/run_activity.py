"""What Proxmox does for a run, by server: {"step": …, "percent": …}. Pure."""

from collections.abc import Mapping
from typing import Any

DONE = "done"  # Terraform has said that it is finished with this server


def working(activity: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that something is being done to now."""
    return {slug: now for slug, now in activity.items() if now.get("step") != DONE}
