"""Names of a VM's disks, as Proxmox gives them: a bus and a number. Pure."""

import re
from collections.abc import Sequence

_NAME = re.compile(r"([a-z]+)(\d+)")


def next_disks(there: Sequence[str], count: int) -> list[str]:
    """Return names for more disks, on the first one's bus, that none of those there has."""
    matched = _NAME.fullmatch(there[0]) if there else None
    bus, number = (matched[1], int(matched[2])) if matched else ("scsi", 0)
    out: list[str] = []
    while len(out) < count:
        if (name := f"{bus}{number}") not in there:
            out.append(name)
        number += 1
    return out
