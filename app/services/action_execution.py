"""Carrying out one action: claim, send once, wait for Proxmox's task, settle.

`sent_at` is committed before the call: whoever finds it without a UPID is in doubt and looks in the cluster's task
list. What is not idempotent is never sent twice. Every write carries the claim's fence.
"""

import time
from dataclasses import replace
from uuid import UUID

from sqlalchemy import func, select

from app import tracing
from app.adapters import figures, results
from app.adapters.crypto import Undecryptable
from app.adapters.proxmox.client import ProxmoxClient, upid_node
from app.adapters.proxmox.errors import refused
from app.adapters.proxmox.types import TaskStatus, VmStatus
from app.domain import vm_config
from app.domain.action_state import IDEMPOTENT, SNAPSHOT, ActionKind, ActionState
from app.domain.server_status import ServerStatus
from app.errors import Fenced, ProxmoxError, ProxmoxNotFound, ProxmoxUnreachable
from app.log import get_logger
from app.models import Action, Server
from app.services import action_doubt, action_lease, action_snapshots, actions, clusters, run_settlement, runs
from app.services.action_lease import Job
from app.services.action_outcome import Outcome, failed, task_code
from app.services.uow import unit_of_work

log = get_logger(__name__)
RENEW_S = 5.0
# A task whose cluster has not answered for so long ends "outcome unknown".
SILENT_S = 300.0


def execute(task_id: str) -> None:
    """Carry out an action, as far as it goes now. A second delivery finds it claimed and returns."""
    job = action_lease.claim(UUID(task_id))
    if job is None:
        figures.count(figures.CLAIMS_LOST, "action")
        return
    in_doubt = job.upid is None and job.sent_at is not None
    origin = tracing.take_up(job.origin, action_id=job.action_id)
    log.info("action_claimed", action_id=job.action_id, kind=job.kind.value, fence=job.fence, in_doubt=in_doubt)
    try:
        with tracing.span(job.kind.value, origin.get("traceparent", ""), action_id=job.action_id), clusters.connection(job.cluster) as proxmox:
            outcome = _carry_out(proxmox, job)
    except Fenced:
        log.warning("action_fenced", action_id=job.action_id, fence=job.fence)
        figures.count(figures.CLAIMS_LOST, "action")
        return
    except ProxmoxError as exc:
        outcome = failed(exc)
    except Undecryptable as exc:
        outcome = Outcome(False, exc.code)
    if outcome is None:
        action_lease.hand_over(job)
    else:
        _finish(job, outcome)


# ---- with Proxmox
def _carry_out(proxmox: ProxmoxClient, job: Job) -> Outcome | None:
    upid = job.upid
    if upid is None and job.sent_at is not None:
        try:
            upid = action_doubt.find(proxmox, job.node, job.vmid, job.action_id, job.cluster.auth_id)
        except ProxmoxUnreachable:
            return _silence(job)
        if upid is not None:
            action_lease.write(job, upid=upid)
        elif job.kind not in IDEMPOTENT:
            return _unknown(proxmox, job)
    if upid is None:
        sent = _send(proxmox, job)
        if isinstance(sent, Outcome):
            return sent
        upid = sent
    return _wait(proxmox, job, upid)


def _send(proxmox: ProxmoxClient, job: Job) -> str | Outcome:
    """Check that the VM is ours and the action has something to do; then send it, once."""
    try:
        node, status = _locate(proxmox, job)
        config = proxmox.vm_config(node, job.vmid)
    except ProxmoxNotFound:
        return Outcome(False, "vm_missing", {"vmid": job.vmid})
    if not vm_config.carries(config, job.marker):
        return Outcome(False, "not_ours", {"vmid": job.vmid, "name": config.get("name", "")})
    of_snapshots = job.kind in SNAPSHOT
    ended = action_snapshots.fault(proxmox, job, node, status) if of_snapshots else _needless(job, node, status)
    if ended is not None:
        return ended
    action_lease.write(job, sent_at=func.clock_timestamp())
    try:
        upid = action_snapshots.send(proxmox, job, node) if of_snapshots else proxmox.power(node, job.vmid, job.kind)
    except ProxmoxError as exc:
        if refused(exc):
            return failed(exc, seen=status, node=node)
        log.warning("action_in_doubt", action_id=job.action_id, code=exc.code)
        found = action_doubt.find_patiently(proxmox, node, job.vmid, job.action_id, job.cluster.auth_id)
        if found is None:
            return _unknown(proxmox, job)
        upid = found
    action_lease.write(job, upid=upid)
    return upid


def _needless(job: Job, node: str, status: VmStatus) -> Outcome | None:
    """How a power action ends without a call; None when it has something to do."""
    at_rest = (job.kind == ActionKind.START) == status.running
    if job.kind in IDEMPOTENT and at_rest and status.qmp != "paused":
        return Outcome(True, detail="nothing to do", seen=status, node=node)
    if job.kind not in IDEMPOTENT and not status.running:
        return Outcome(False, "server_not_running", {"status": status.status}, seen=status, node=node)
    return None


def _wait(proxmox: ProxmoxClient, job: Job, upid: str) -> Outcome | None:
    """Wait for the task's end; None when it goes on longer than this thread may."""
    node, pause_s = upid_node(upid), 0.1
    begun = renewed = time.monotonic()
    while True:
        try:
            task = proxmox.task_status(node, upid)
        except ProxmoxNotFound:
            return _unknown(proxmox, job)  # the node forgot it
        except ProxmoxUnreachable:
            if job.age_s + time.monotonic() - begun > SILENT_S:
                return _unknown(proxmox, job)
            task = None
        if task is not None and not task.running:
            outcome = _ended(proxmox, job, task)
            unread = job.kind == ActionKind.SNAPSHOT_ROLLBACK and outcome.seen is None
            # The row must follow the VM: what cannot be read yet is waited for.
            if not unread or job.age_s + time.monotonic() - begun > SILENT_S:
                return outcome
        now = time.monotonic()
        if now - begun > job.patience_s:
            return None
        if now - renewed > RENEW_S:
            action_lease.write(job)
            renewed = now
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)


def _silence(job: Job) -> Outcome | None:
    if job.age_s < SILENT_S:
        return None
    return Outcome(False, "outcome_unknown", {"action": _words(job.kind), "status": "unknown"})


def _unknown(proxmox: ProxmoxClient, job: Job) -> Outcome:
    """The task cannot be found: judge by the VM when that tells enough, else say that nobody knows."""
    seen, node = _look(proxmox, job)
    if job.kind in SNAPSHOT:
        done = node is not None and action_snapshots.shows_done(proxmox, job, node)
    else:
        done = seen is not None and job.kind in IDEMPOTENT and (job.kind == ActionKind.START) == seen.running
    if done:
        return Outcome(True, detail="judged by what Proxmox shows", seen=seen, node=node)
    args = {"action": _words(job.kind), "status": seen.status if seen else "unknown"}
    return _followed(proxmox, job, Outcome(False, "outcome_unknown", args, "", seen, node))


def _words(kind: ActionKind) -> str:
    return kind.value.replace("_", " ")


def _ended(proxmox: ProxmoxClient, job: Job, task: TaskStatus) -> Outcome:
    """What the end of Proxmox's task means; `seen` is None when the VM could not be looked at."""
    seen, where = _look(proxmox, job)
    if task.ok:
        return _followed(proxmox, job, Outcome(True, seen=seen, node=where))
    reason = task.exit_status or ""
    args = {"reason": reason, "snapshot": job.arguments.get("name", "")}
    tail = _log_tail(proxmox, upid_node(task.upid), task.upid)
    return _followed(proxmox, job, Outcome(False, task_code(job.kind, reason), args, tail, seen, where))


def _followed(proxmox: ProxmoxClient, job: Job, outcome: Outcome) -> Outcome:
    """The outcome of a rollback with the config it led to; without what was seen when that cannot be read."""
    if job.kind != ActionKind.SNAPSHOT_ROLLBACK or outcome.node is None:
        return outcome
    try:
        return replace(outcome, config=action_snapshots.rolled_back_config(proxmox, job, outcome.node, outcome.ok))
    except ProxmoxError as exc:
        log.warning("rolled_back_config_unread", action_id=job.action_id, code=exc.code)
        return replace(outcome, seen=None)


def _locate(proxmox: ProxmoxClient, job: Job) -> tuple[str, VmStatus]:
    """Where the VM is and what it does. Raises ProxmoxNotFound."""
    try:
        return job.node, proxmox.vm_status(job.node, job.vmid)
    except ProxmoxNotFound:
        guest = proxmox.resources().guest(job.vmid)
        if guest is None or guest.kind != "qemu":
            raise
        return guest.node_name, proxmox.vm_status(guest.node_name, job.vmid)


def _look(proxmox: ProxmoxClient, job: Job) -> tuple[VmStatus | None, str | None]:
    try:
        node, seen = _locate(proxmox, job)
    except ProxmoxError:
        return None, None
    return seen, node


def _log_tail(proxmox: ProxmoxClient, node: str, upid: str) -> str:
    try:
        return "\n".join(proxmox.task_log(node, upid)[-20:])[-2000:]
    except ProxmoxError:
        return ""


# ---- with the database
def _finish(job: Job, outcome: Outcome) -> None:
    """Settle action, server, events and notifications in one transaction; then Celery's result, best effort."""
    with unit_of_work() as uow:
        server = uow.session.scalars(select(Server).where(Server.id == job.server_id).with_for_update(key_share=True)).one()
        action = uow.session.scalars(
            select(Action)
            .where(Action.id == job.action_id, Action.fence == job.fence, Action.state == ActionState.RUNNING)
            .with_for_update(key_share=True)
        ).one_or_none()
        if action is None:
            return
        action.state = ActionState.SUCCEEDED if outcome.ok else ActionState.FAILED
        action.error = None if outcome.ok else {"code": outcome.code, "args": outcome.args, "detail": outcome.detail}
        action.finished_at = uow.session.scalar(select(func.clock_timestamp()))
        action.version += 1
        _show(server, outcome)
        if server.busy_action_id == action.id:
            server.busy_action_id = None
        run_settlement.tell(uow, server)
        actions.tell_end(uow, action, server)
    log.info("action_ended", action_id=job.action_id, kind=job.kind.value, ok=outcome.ok, code=outcome.code)
    results.store(job.task_id, outcome.ok, {"action": job.kind.value, "server": server.name, "error": action.error})
    with unit_of_work() as uow:  # a run may have waited for the server; its own transaction, for the order of locks
        runs.promote(uow, job.workspace_id)


def _show(server: Server, outcome: Outcome) -> None:
    """Take over what Proxmox shows, unless a run has the server's lifecycle."""
    if (
        outcome.seen is None
        or server.busy_run_id is not None
        or server.status in (ServerStatus.CREATING, ServerStatus.DELETING)
    ):
        return
    paused = outcome.seen.running and outcome.seen.qmp in ("paused", "suspended")
    running = ServerStatus.PAUSED if paused else ServerStatus.RUNNING
    server.status = running if outcome.seen.running else ServerStatus.STOPPED
    server.uptime_s = outcome.seen.uptime_s
    if outcome.config is not None:
        action_snapshots.take_over(server, outcome.config)
    server.node_name = outcome.node or server.node_name
    if not outcome.seen.running:
        server.cpu_percent = server.memory_percent = 0
