"""Disks that a state has and the VM has not: the provider keeps them as disks without a name and fails over them.

They vanish when a VM goes back to a snapshot that is older than they are, or when somebody detaches them in Proxmox.
"""

import json
from collections.abc import Mapping

from app.services import states


def without_gone(body: bytes, there: Mapping[str, set[str]]) -> tuple[bytes, dict[str, list[str]]] | None:
    """Return the next state without these disks, and which by server; None when nothing is too much.

    `there` has the interfaces of each VM that was looked at, by the server's key; others stay as they are.
    """
    parsed = json.loads(body)
    gone: dict[str, list[str]] = {}
    for item in states.items_of(parsed):
        key, attributes = str(item.get("index_key", "")), item.get("attributes") or {}
        disks = attributes.get("disk") or []
        kept = [d for d in disks if d.get("interface") in there[key]] if key in there else disks
        # A VM without any disk is no VM that went back: whatever that is, Terraform should say so.
        if kept and len(kept) < len(disks):
            gone[key] = [str(d.get("interface")) for d in disks if d not in kept]
            attributes["disk"] = kept
    if not gone:
        return None
    parsed["serial"] += 1
    return json.dumps(parsed).encode(), gone
