"""Taking over what a former runner or a dead Terraform left: its lock, its unsaved state, its half-made servers."""

import fcntl
import os
import signal
import socket
import time

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import Resources
from app.adapters.terraform import command, workdir
from app.errors import Fenced, RunFailed
from app.log import get_logger
from app.runner import leaving, preflight, process
from app.runner.context import RunContext
from app.runner.patience import patient
from app.services import run_execution, states

log = get_logger(__name__)
LOCK_PATIENCE_S, LOCK_POLL_S = 1800.0, 0.02
# On another machine a frozen runner's Terraform may still begin servers, and nothing here can tell.
ELSEWHERE_QUIET_S = 15.0
SETTLE_S = 1.0  # a request the dead provider sent may still be on its way


def take_over(context: RunContext) -> None:
    """Kill a hung predecessor on this host, wait for its Terraform and provider, take in what they could not save."""
    if not context.claimed.resumed:
        _take_lock(context)
        return
    leases = patient(lambda uow: run_execution.former_leases(uow, context.run_id, context.fence))
    former = [(lease.pid, lease.pid_start) for lease in leases if lease.boot_id == process.boot_id()]
    context.elsewhere = any(lease.host not in ("", socket.gethostname()) and not lease.given_up for lease in leases[-1:])
    for pid, start in former:
        # Its keeper sees the end of file and lets Terraform finish the servers in flight.
        if pid is not None and process.start_time(pid) == start:
            os.kill(pid, signal.SIGKILL)
            context.note("killed_hung_runner", key=str(pid), pid=pid)
    began = time.monotonic()
    _take_lock(context)
    if former:
        context.note("took_over", waited_s=round(time.monotonic() - began, 1))
    context.take_in_log()
    take_in(context)


def _take_lock(context: RunContext) -> None:
    """The lock is inherited by Terraform and provider: free means that all of them are gone."""
    end = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(context.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            leaving.check(context)
            if context.reason == "fenced" or time.monotonic() > end:
                raise RunFailed("former_terraform_hangs") from None
            time.sleep(LOCK_POLL_S)


def take_in(context: RunContext) -> None:
    """Store a left-over errored.tfstate when it follows the newest version; keep and show it when it does not."""
    path = context.folder / "errored.tfstate"
    if not path.exists():
        return
    body, kept = path.read_bytes(), context.folder / f"errored-{context.fence}-{time.time_ns()}.tfstate.kept"
    try:
        context.state.save(body)
        context.note("state_taken_in", key=str(states.serial_of(body)), serial=states.serial_of(body))
    except (states.StateRefused, states.StateMalformed) as exc:
        patient(lambda uow: run_execution.guard(uow, context.run_id, context.fence))  # really fenced? then stop here
        context.note("state_refused", key=kept.name, reason=str(exc), kept=f"runs/{context.run_id}/{kept.name}", host=socket.gethostname())
        log.error("errored_state_refused", run_id=context.run_id, reason=str(exc), kept=str(kept))
    path.chmod(0o600)
    path.rename(kept)


def settled(context: RunContext, client: ProxmoxClient) -> Resources:
    """Wait until what was begun before is done, and read the cluster. Raises RunFailed, ProxmoxError."""
    time.sleep(SETTLE_S)
    return preflight.wait_quiet(context, client, ELSEWHERE_QUIET_S if context.elsewhere else 0.0)


def adopt(context: RunContext, phase: str) -> list[str]:
    """Write import blocks for our VMs that the state lacks, untaint our half-made ones; returns what was adopted."""
    adopted: list[str] = []
    blocks: list[tuple[str, str]] = []
    known = states.instances(context.state.read().body)
    with context.proxmox() as client:
        resources = preflight.wait_quiet(context, client)
        for target in context.facts.servers:
            guest = resources.guest(target.vmid)
            instance = known.get(target.slug)
            if guest is not None and instance is None:
                if not preflight.is_ours(client, guest, target):
                    raise RunFailed("vmid_foreign", vmid=target.vmid, server=target.name, found=guest.name)
                blocks.append((target.slug, f"{guest.node_name}/{guest.vmid}"))
                adopted.append(target.name)
            elif guest is not None and instance is not None and instance.tainted:
                context.run_terraform(command.untaint(target.slug), f"{phase}-untaint-{target.vmid}", log=False)
                context.unfinished.add(target.slug)
                adopted.append(target.name)
    workdir.write_imports(context.folder, blocks)
    if adopted:
        context.note("adopted", key=phase, servers=adopted)
        context.say("Taking over what was begun: " + ", ".join(adopted))
    return adopted


def know(context: RunContext, phase: str) -> None:
    """After a kill: wait until Proxmox works on none of our VMIDs, then take what is there into the state, unchanged.

    What Terraform was killed over is unfinished, whether the state has it or not: nobody may take it for a server that
    was made, and a delete finds it.
    """
    context.note("stopped", key=phase)
    context.say("Terraform was killed; waiting for what Proxmox has begun, then taking it in")
    before = states.instances(context.state.read().body)
    with context.proxmox() as client:
        resources = preflight.wait_quiet(context, client)
        for target in context.facts.servers:
            guest, instance = resources.guest(target.vmid), before.get(target.slug)
            if guest is None or (instance is not None and not instance.tainted and target.slug in context.done):
                continue
            if instance is None and preflight.is_ours(client, guest, target):
                into_state(context, target.slug, f"{guest.node_name}/{guest.vmid}", f"import-{phase}-{target.vmid}", anyway=True)
            if target.slug not in context.done:
                context.unfinished.add(target.slug)


def forget(context: RunContext, phase: str) -> int:
    """Take the run's servers out of the state; Proxmox is only asked. Returns 0, or the code of a Terraform that was killed or told to stop.

    Raises RunFailed when a VM is there and ours or Terraform refuses, ProxmoxError.
    """
    known = states.instances(context.state.read().body)
    with context.proxmox() as client:
        resources = preflight.wait_quiet(context, client)
        for target in context.facts.servers:
            guest = resources.guest(target.vmid)
            if guest is not None and preflight.is_ours(client, guest, target):
                raise RunFailed("server_is_there", server=target.name, vmid=target.vmid)
    for target in context.facts.servers:
        if target.slug in known and (code := context.run_terraform(command.state_rm(target.slug), f"{phase}-{target.vmid}")) != 0:
            if code < 0 or context.told_to_stop():
                return code
            raise RunFailed("forget_failed", server=target.name)
    return 0


def into_state(context: RunContext, slug: str, identity: str, phase: str, *, anyway: bool = False) -> int:
    """Import one VM into the state, so that a delete can remove it; its exit code when it was killed or told to stop.

    Raises RunFailed when Terraform refuses, and with `anyway` whenever it did not succeed.
    """
    code = context.run_terraform(command.import_(slug, identity), phase, log=False, anyway=anyway)
    if code != 0 and context.reason == "fenced":
        raise Fenced("while importing")
    if code != 0 and (anyway or not (code < 0 or context.told_to_stop())):
        raise RunFailed("import_failed", server=slug)
    return code
