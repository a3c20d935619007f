"""One round of a run: check, adopt, plan, decide, apply, settle."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.adapters.proxmox.types import Config, Resources
from app.adapters.terraform import command, events, workdir
from app.config import get_settings
from app.domain import approval
from app.domain.plan_bounds import Planned
from app.domain.run_state import ApplyMode, RunKind, RunState
from app.errors import Fenced, ProxmoxError, RunFailed
from app.runner import adoption, collisions, gone_disks, leaving, leftovers, outcome, pending, preflight
from app.runner.context import KILLED, RunContext
from app.runner.patience import patient
from app.runner.progress import Progress
from app.services import approvals, run_execution, run_inputs, runs, slots, state_rollbacks, states
from app.services.run_execution import PlanFile
from app.services.uow import UnitOfWork

DONE, AGAIN, MOVED = "done", "again", "moved"
# Rounds that failed, and rounds in all: a VMID that somebody else took costs no try, unless it goes on for ever.
ROUNDS, TURNS = 3, 20
# A cluster that comes back within this time finds its run waiting; later the run ends with the reason.
CONTACT_PATIENCE_S, CONTACT_POLL_S = 120.0, 0.5
PLAN_FILE = "run.tfplan"


@dataclass(frozen=True)
class Turn:
    """Which round it is, and how many were in vain."""

    number: int = 0
    tried: int = 0

    @property
    def last(self) -> bool:
        """No other one follows when this one fails."""
        return self.tried + 1 >= ROUNDS or self.number + 1 >= TURNS

    @property
    def may_move(self) -> bool:
        """Another VMID may be tried."""
        return self.number + 1 < TURNS


def plan_and_apply(context: RunContext, turn: Turn) -> str:
    """Do one round; AGAIN when Terraform died under us or the lease was lost, MOVED when only a VMID was in the way.

    Raises RunFailed, Fenced, KeeperGone.
    """
    key = f"{context.fence}-{turn.number}"
    workdir.prepare(context.folder, context.skeleton.directory)
    if context.facts.applying and not context.claimed.resumed and turn.number == 0:
        saved = patient(_approved(context))
        if saved is not None:
            return _apply_approved(context, saved, key, turn)
        context.note("replanned")
        context.say("The state is newer than the approved plan: planning again")
    if context.facts.forgets:
        return _forget(context, key)
    again = context.claimed.resumed or turn.number > 0
    resources, configs = _check(context, again)
    inputs = patient(lambda uow: run_inputs.of(uow, context.run_id, context.fence, _running(context, resources)))
    _check_template(context, resources, inputs)
    workdir.write_inputs(context.folder, inputs)
    if context.facts.kind == RunKind.ROLLBACK and patient(lambda uow: state_rollbacks.write(uow, context.run_id, context.fence)):
        context.say("The former state is the newest one now")
    adopted = adoption.adopt(context, f"adopt-{key}") if again or _may_lack_servers(context) else []
    if context.facts.kind == RunKind.DELETE and (code := _import_unknown(context, resources, key)) != 0:
        return _after(context, f"import-{key}", code, applied=False)
    gone_disks.forget(context, configs)
    leftovers.note(context, configs)
    leftovers.clean(context, at_end=False)
    return _plan(context, key, bool(adopted) or context.facts.completes, turn)


def _forget(context: RunContext, key: str) -> str:
    code = adoption.forget(context, f"forget-{key}")
    if code != 0 or context.told_to_stop():
        return _after(context, f"forget-{key}", code or -1, applied=False)
    outcome.nothing_to_do(context)
    return DONE


def _check(context: RunContext, again: bool) -> tuple[Resources, dict[str, Config]]:
    with context.proxmox() as client:
        # Whose a VM is that is being cloned shows only afterwards.
        resources = adoption.settled(context, client) if again else preflight.look(context, client)
        collisions.move_away(context, client, resources)
        return resources, preflight.check(context, client, resources)


def _check_template(context: RunContext, resources: Resources, inputs: dict[str, object]) -> None:
    """Before something is cloned: the template must still be there. Raises RunFailed."""
    unmade = any(resources.guest(t.vmid) is None for t in context.facts.servers)
    if context.facts.kind == RunKind.CREATE and not context.claimed.resumed and unmade:
        defaults = inputs.get("defaults")
        vmid = defaults.get("template_vmid") if isinstance(defaults, dict) else None
        preflight.check_template(resources, int(vmid or 0), str(vmid))


def _running(context: RunContext, resources: Resources) -> dict[str, bool]:
    found = {t.slug: resources.guest(t.vmid) for t in context.facts.servers}
    return {slug: guest.status == "running" for slug, guest in found.items() if guest is not None}


def _may_lack_servers(context: RunContext) -> bool:
    """True when the state may not know VMs of ours: before a retry, after a roll back and whatever was planned on one."""
    if context.facts.completes or context.facts.kind == RunKind.ROLLBACK:
        return True
    return context.facts.kind == RunKind.CHANGE and not set(context.slugs) <= set(states.instances(context.state.read().body))


def _import_unknown(context: RunContext, resources: Resources, key: str) -> int:
    """A server that exists but that Terraform never saved: take it into the state, so that the plan can remove it.

    Returns the exit code of the import that was killed or told to stop, else 0.
    """
    known = states.instances(context.state.read().body)
    for target in context.facts.servers:
        guest = resources.guest(target.vmid)
        if guest is not None and target.slug not in known:
            single = patient(lambda uow, slug=target.slug: run_inputs.single(uow, context.run_id, context.fence, slug))  # type: ignore[misc]  # bound now
            workdir.write_inputs(context.folder, single)
            if (code := adoption.into_state(context, target.slug, f"{guest.node_name}/{guest.vmid}", f"import-{key}-{target.vmid}")) != 0:
                return code
            inputs = patient(lambda uow: run_inputs.of(uow, context.run_id, context.fence, {}))
            workdir.write_inputs(context.folder, inputs)
    return 0


def _plan(context: RunContext, key: str, adopting: bool, turn: Turn) -> str:
    phase = f"plan-{key}"
    # Not for a first create: its workspace holds nothing else, and without targets no warning is printed.
    # A roll back wants to see everything.
    whole = context.facts.kind == RunKind.ROLLBACK or (context.facts.kind == RunKind.CREATE and not context.facts.completes)
    targets = [] if whole else context.slugs
    code = context.run_terraform(command.plan(PLAN_FILE, targets), phase)
    if code not in (0, 2):
        return _after(context, phase, code, applied=False)
    if context.reason:
        return _after(context, phase, -1, applied=False)
    said = context.events_of(phase)
    if not events.whole(said):
        raise RunFailed("plan_output_lost")
    found = events.changes(said)
    if not found:
        pending.restart(context)
        leftovers.clean(context, at_end=True)
        outcome.nothing_to_do(context)
        return DONE
    _expect(context, [(c.slug, c.action) for c in found])
    names = {t.slug: t.name for t in context.facts.servers}
    shown: dict[str, list[dict[str, object]]] = {}
    waits = approval.stops(context.facts.policy, context.facts.kind, [c.action for c in found])
    if waits or context.facts.mode == ApplyMode.CONFIRM or any(c.action not in ("create",) for c in found):
        # Costs a process; done when a person will look, or when there is a difference worth showing.
        if context.run_terraform(command.show(PLAN_FILE), f"show-{key}", log=False) == 0:
            shown = events.attributes(context.shown(f"show-{key}"))
    plan = [Planned(c.address, c.slug, names.get(c.slug, c.slug), c.action, c.reason, shown.get(c.address, ())) for c in found]
    if not _store_and_decide(context, plan, adopting):
        return DONE
    return _apply(context, f"apply-{key}", {c.slug for c in plan}, turn)


def _store_and_decide(context: RunContext, plan: Sequence[Planned], adopting: bool) -> bool:
    """Store the plan; True when it is to be applied by this process now."""
    body = (context.folder / PLAN_FILE).read_bytes()
    sha = hashlib.sha256(body).hexdigest()
    current = states.serial_of(context.state.read().body)

    def work(uow: UnitOfWork) -> str:
        run = run_execution.guard(uow, context.run_id, context.fence)
        former = run_execution.approved_plan(uow, run)
        run = run_execution.store_plan(uow, context.run_id, context.fence, plan, body, sha, current)
        why = run_execution.verdict(run, plan, former.changes if former else [], adopting, approvals.rule_of(uow.session, run.workspace_id))
        if why is None and run.state == RunState.PLANNING:  # what an apply has begun is finished
            why = run_execution.unanswered(uow.session, run)
        if why:
            run_execution.wait_for_person(uow, run, why)
            return "wait"
        return "go" if run_execution.go_on(uow, run, context.fence) else "slots"

    return patient(work) == "go"


def _approved(context: RunContext) -> Callable[[UnitOfWork], PlanFile | None]:
    """The plan to apply as it is; None when it was made from an older state, or without inputs to make it again."""

    def work(uow: UnitOfWork) -> PlanFile | None:
        run = run_execution.guard(uow, context.run_id, context.fence)
        saved = run_execution.approved_plan(uow, run)
        if saved is None or saved.serial != saved.current_serial or run.inputs is None:
            return None
        workdir.write_inputs(context.folder, run.inputs)
        return saved

    return work


def _apply_approved(context: RunContext, saved: PlanFile, key: str, turn: Turn) -> str:
    """Apply the very plan that a person approved. Raises RunFailed when its bytes are others now."""
    if hashlib.sha256(saved.body).hexdigest() != saved.sha256:
        raise RunFailed("plan_changed")
    workdir.write_plan(context.folder, saved.body, PLAN_FILE)
    _expect(context, [(change.slug, change.action) for change in saved.changes])
    return _apply(context, f"apply-{key}", {change.slug for change in saved.changes}, turn)


def _expect(context: RunContext, changes: Sequence[tuple[str, str]]) -> None:
    """What a create has to change is half-made, although the state may have it whole: imported, or cleared of its taint."""
    if context.facts.kind == RunKind.CREATE:
        context.unfinished |= {slug for slug, action in changes if action != "create"}


def _apply(context: RunContext, phase: str, planned: set[str], turn: Turn) -> str:
    if _taken_meanwhile(context, turn):
        return MOVED
    parallelism = patient(lambda uow: slots.held(uow, runs.locked(uow, context.run_id)))
    context.done = set(context.slugs) - planned
    context.begun = set()
    with Progress(context):
        code = context.run_terraform(command.apply(PLAN_FILE, parallelism), phase, total=len(context.slugs))
    return _after(context, phase, code, applied=True, turn=turn)


def _taken_meanwhile(context: RunContext, turn: Turn) -> bool:
    """The apply may come days after the plan: True when somebody else took a VMID of ours and another plan is due."""
    with context.proxmox() as client:
        resources = preflight.look(context, client)
        if turn.may_move and collisions.move_away(context, client, resources):
            return True
        preflight.check(context, client, resources)
    return False


def _after(context: RunContext, phase: str, code: int, applied: bool, turn: Turn | None = None) -> str:
    """Settle a phase from its exit code, our own reason to stop, state and Proxmox together; without `turn` for good."""
    adoption.take_in(context)
    if context.reason == "fenced":
        raise Fenced("while Terraform ran")
    if code == 0 and applied:
        leftovers.clean(context, at_end=True)
        outcome.applied(context)
        return DONE
    if context.reason in ("cancel", leaving.REASON) and applied and outcome.complete(context, phase):
        outcome.applied(context)
        return DONE
    leaving.check(context)
    if context.reason in KILLED and applied:
        adoption.know(context, phase)
    if context.reason in ("cancel", "stop"):
        outcome.canceled(context, phase)
        return DONE
    if context.reason in ("deadline", "overdue"):
        raise RunFailed("run_deadline", seconds=get_settings().run_deadline_s)
    # A negative code: killed by a signal. Never a blind repeat: the next round adopts what there is.
    if context.reason == "lease" or code < 0:
        return AGAIN
    if applied and turn is not None:
        taken = outcome.taken(context, phase)
        if (taken and turn.may_move) or (not turn.last and outcome.in_doubt(context, phase)):
            # Told to stop meanwhile: that is how it ends.
            return (MOVED if taken else AGAIN) if _back_in_contact(context) else _after(context, phase, code, applied)
    outcome.terraform_failed(context, phase)
    return DONE


def _back_in_contact(context: RunContext) -> bool:
    """Nobody knows what Proxmox did of what it was asked: True when it answers (again) in time and nobody asked to stop."""
    context.say("Not known what Proxmox has done of this; looking again once it answers")
    end = time.monotonic() + CONTACT_PATIENCE_S
    while not context.told_to_stop() and time.monotonic() < end:
        try:
            with context.proxmox() as client:
                client.version()
        except ProxmoxError:
            time.sleep(CONTACT_POLL_S)
        else:
            return True
    return False
