"""What Proxmox works on while Terraform waits: a clone's percentage from its task's log, per server.

Terraform only repeats that it is still creating. A look a second from a thread of its own; a failed look shows nothing.
"""

import re
import threading
from dataclasses import dataclass

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import TaskEntry
from app.domain.run_activity import finished
from app.errors import AppError
from app.log import get_logger
from app.runner.context import RunContext
from app.runner.patience import LOST, patient
from app.services import run_execution

log = get_logger(__name__)
FIRST_LOOK_S, LOOK_S = 1.0, 1.0
PERCENT = re.compile(r"\((\d+(?:\.\d+)?)\s?%\)")
# Volumes carry the new VM's id in their names; the task itself only tells the template's.
VOLUME = re.compile(r"\b(?:vm|base)-(\d+)-(?:disk|cloudinit)")
STEPS = {
    "qmclone": "clone", "qmconfig": "configure", "resize": "configure", "qmstart": "start", "qmshutdown": "shutdown", "qmstop": "shutdown",
    "qmreboot": "restart", "qmdestroy": "delete", "qmigrate": "move", "qmmove": "move",
}  # fmt: skip


@dataclass
class _Clone:
    """What a clone's log said so far; `lines` of it are read."""

    lines: int = 0
    vmid: int | None = None
    percent: int | None = None


class Progress:
    """Looks until the `with` block ends.

    with Progress(context):
        context.run_terraform(...)
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._clones: dict[str, _Clone] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)

    def _keep_looking(self) -> None:
        if self._ended.wait(FIRST_LOOK_S):
            return
        with self.context.app.app_context(), self.context.proxmox() as client:
            shown: dict[str, dict[str, object]] = {}
            while True:
                try:
                    found = self._look(client)
                    if found != shown:
                        patient(lambda uow, now=found: run_execution.set_activity(uow, self.context.run_id, self.context.fence, now), 0.0)  # type: ignore[misc]  # bound now
                        shown = found
                except (AppError, *LOST) as exc:  # the run itself notices what matters
                    log.debug("progress_not_seen", run_id=self.context.run_id, reason=str(exc))
                if self._ended.wait(LOOK_S):
                    return

    def _look(self, client: ProxmoxClient) -> dict[str, dict[str, object]]:
        """Return step and percentage of each server that Terraform has begun; those it has finished are `done`."""
        done = finished(self.context.done)
        begun = self.context.begun - done.keys()
        if not begun:
            return done
        by_vmid = {t.vmid: t.slug for t in self.context.facts.servers}
        out: dict[str, dict[str, object]] = {slug: {"step": "work"} for slug in sorted(begun)}
        for task in client.cluster_tasks():
            if task.exit_status is not None or task.kind not in STEPS:
                continue
            clone = self._clone(client, task) if task.kind == "qmclone" else None
            vmid = clone.vmid if clone else int(task.vmid) if task.vmid.isdigit() else None
            slug = by_vmid.get(vmid or 0)
            if slug in out:
                out[slug] = {"step": STEPS[task.kind], **({"percent": clone.percent} if clone and clone.percent is not None else {})}
        return done | out

    def _clone(self, client: ProxmoxClient, task: TaskEntry) -> _Clone:
        clone = self._clones.setdefault(task.upid, _Clone())
        lines = client.task_log(task.node_name, task.upid, clone.lines)
        clone.lines += len(lines)
        for line in lines:
            # The source's volumes stand in the same lines: the new one's id is the one that is ours.
            for vmid in map(int, VOLUME.findall(line)):
                if vmid != int(task.vmid or 0):
                    clone.vmid = vmid
            if found := PERCENT.search(line):
                clone.percent = int(float(found[1]))
        return clone
