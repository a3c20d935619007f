"""One round of a run: check, adopt, plan, decide, apply, settle."""

import hashlib
import time
from collections.abc import Callable, Sequence

from app.adapters.proxmox.client import ProxmoxClient
from app.adapters.proxmox.types import Resources
from app.adapters.terraform import command, events, workdir
from app.domain.run_state import ApplyMode, RunKind
from app.errors import Fenced, ProxmoxError, RunFailed
from app.runner import adoption, outcome, preflight
from app.runner.context import RunContext
from app.runner.patience import patient
from app.services import run_execution, run_inputs, runs, slots, states
from app.services.run_execution import PlanFile, Planned
from app.services.uow import UnitOfWork

DONE, AGAIN = "done", "again"
ROUNDS = 3
# A cluster that comes back within this time finds its run waiting; later the run ends with the reason.
CONTACT_PATIENCE_S, CONTACT_POLL_S = 120.0, 0.5
PLAN_FILE = "run.tfplan"


def plan_and_apply(context: RunContext, number: int) -> str:
    """Do one round; AGAIN when Terraform died under us or the lease was lost. Raises RunFailed, Fenced, KeeperGone."""
    key = f"{context.fence}-{number}"
    last = number + 1 >= ROUNDS
    workdir.prepare(context.folder, context.skeleton.directory)
    fresh_apply = context.facts.applying and not context.claimed.resumed and number == 0
    if fresh_apply:
        return _apply_approved(context, key, last)
    resources = _check(context)
    inputs = patient(lambda uow: run_inputs.of(uow, context.run_id, context.fence, _running(context, resources)))
    _check_template(context, resources, inputs)
    workdir.write_inputs(context.folder, inputs)
    adopted = adoption.adopt(context, f"adopt-{key}") if context.claimed.resumed or number else []
    if context.facts.kind == RunKind.DELETE:
        _import_unknown(context, resources, key)
    return _plan(context, key, bool(adopted), last)


def _check(context: RunContext) -> Resources:
    with context.proxmox() as client:
        resources = preflight.look(context, client)
        preflight.check(context, client, resources)
        return resources


def _check_template(context: RunContext, resources: Resources, inputs: dict[str, object]) -> None:
    """Before a create: the template must still be there. Raises RunFailed."""
    if context.facts.kind == RunKind.CREATE and not context.claimed.resumed:
        defaults = inputs.get("defaults")
        vmid = defaults.get("template_vmid") if isinstance(defaults, dict) else None
        preflight.check_template(resources, int(vmid or 0), str(vmid))


def _running(context: RunContext, resources: Resources) -> dict[str, bool]:
    found = {t.slug: resources.guest(t.vmid) for t in context.facts.servers}
    return {slug: guest.status == "running" for slug, guest in found.items() if guest is not None}


def _import_unknown(context: RunContext, resources: Resources, key: str) -> None:
    """A server that exists but that Terraform never saved: take it into the state, so that the plan can remove it."""
    known = states.instances(context.state.read().body)
    for target in context.facts.servers:
        guest = resources.guest(target.vmid)
        if guest is not None and target.slug not in known:
            single = patient(lambda uow, slug=target.slug: run_inputs.single(uow, context.run_id, context.fence, slug))  # type: ignore[misc]  # bound now
            workdir.write_inputs(context.folder, single)
            adoption.into_state(context, target.slug, f"{guest.node_name}/{guest.vmid}", f"import-{key}-{target.vmid}")
            inputs = patient(lambda uow: run_inputs.of(uow, context.run_id, context.fence, {}))
            workdir.write_inputs(context.folder, inputs)


def _plan(context: RunContext, key: str, adopting: bool, last: bool) -> str:
    phase = f"plan-{key}"
    # Not for a create: its workspace holds nothing else, and without targets no warning is printed.
    targets = [] if context.facts.kind == RunKind.CREATE else context.slugs
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
        outcome.nothing_to_do(context)
        return DONE
    _expect(context, [(c.slug, c.action) for c in found])
    names = {t.slug: t.name for t in context.facts.servers}
    shown: dict[str, list[dict[str, object]]] = {}
    if context.facts.mode == ApplyMode.CONFIRM or any(c.action not in ("create",) for c in found):
        # Costs a process; done when a person will look, or when there is a difference worth showing.
        if context.run_terraform(command.show(PLAN_FILE), f"show-{key}", log=False) == 0:
            shown = events.attributes(context.shown(f"show-{key}"))
    plan = [Planned(c.address, c.slug, names.get(c.slug, c.slug), c.action, c.reason, shown.get(c.address, ())) for c in found]
    if not _store_and_decide(context, plan, adopting):
        return DONE
    return _apply(context, f"apply-{key}", {c.slug for c in plan}, last)


def _store_and_decide(context: RunContext, plan: Sequence[Planned], adopting: bool) -> bool:
    """Store the plan; True when it is to be applied by this process now."""
    body = (context.folder / PLAN_FILE).read_bytes()
    sha = hashlib.sha256(body).hexdigest()
    current = states.serial_of(context.state.read().body)

    def work(uow: UnitOfWork) -> str:
        run = run_execution.guard(uow, context.run_id, context.fence)
        approved = run_execution.approved_plan(uow, run)
        run = run_execution.store_plan(uow, context.run_id, context.fence, plan, body, sha, current)
        why = run_execution.verdict(run, plan, approved.changes if approved else [], adopting)
        if why:
            run_execution.wait_for_person(uow, run, why)
            return "wait"
        return "go" if run_execution.go_on(uow, run, context.fence) else "slots"

    return patient(work) == "go"


def _apply_approved(context: RunContext, key: str, last: bool) -> str:
    """Apply the plan a person approved, if it is still the plan of the newest state."""
    saved = patient(_approved(context))
    if saved is None or saved.serial != saved.current_serial:
        raise RunFailed("plan_stale")
    if hashlib.sha256(saved.body).hexdigest() != saved.sha256:
        raise RunFailed("plan_changed")
    if not patient(_inputs_stored(context)):
        raise RunFailed("plan_stale")
    workdir.write_plan(context.folder, saved.body, PLAN_FILE)
    _expect(context, [(events.slug_of(address) or address, action) for address, action in saved.changes])
    return _apply(context, f"apply-{key}", {events.slug_of(address) or address for address, _ in saved.changes}, last)


def _approved(context: RunContext) -> Callable[[UnitOfWork], PlanFile | None]:
    def work(uow: UnitOfWork) -> PlanFile | None:
        return run_execution.approved_plan(uow, run_execution.guard(uow, context.run_id, context.fence))

    return work


def _inputs_stored(context: RunContext) -> Callable[[UnitOfWork], bool]:
    def work(uow: UnitOfWork) -> bool:
        run = run_execution.guard(uow, context.run_id, context.fence)
        if run.inputs is not None:
            workdir.write_inputs(context.folder, run.inputs)
        return run.inputs is not None

    return work


def _expect(context: RunContext, changes: Sequence[tuple[str, str]]) -> None:
    """What a create has to change is half-made, although the state may have it whole: imported, or cleared of its taint."""
    if context.facts.kind == RunKind.CREATE:
        context.unfinished |= {slug for slug, action in changes if action != "create"}


def _apply(context: RunContext, phase: str, planned: set[str], last: bool) -> str:
    with context.proxmox() as client:
        _check_again(context, client)
    parallelism = patient(lambda uow: slots.held(uow, runs.locked(uow, context.run_id)))
    context.done = set(context.slugs) - planned
    code = context.run_terraform(command.apply(PLAN_FILE, parallelism), phase, total=len(context.slugs))
    return _after(context, phase, code, applied=True, last=last)


def _check_again(context: RunContext, client: ProxmoxClient) -> None:
    """The apply may come days after the plan: nobody else may hold our VMIDs now."""
    preflight.check(context, client, preflight.look(context, client))


def _after(context: RunContext, phase: str, code: int, applied: bool, last: bool = True) -> str:
    """Settle a phase from its exit code, our own reason to stop, state and Proxmox together."""
    adoption.take_in(context)
    if context.reason == "fenced":
        raise Fenced("while Terraform ran")
    if code == 0 and applied:
        outcome.applied(context)
        return DONE
    if context.reason in ("cancel", "stop"):
        if context.reason == "stop" and applied:
            adoption.know(context, phase)
        outcome.canceled(context, phase)
        return DONE
    if context.reason == "deadline":
        raise RunFailed("run_deadline")
    # A negative code: killed by a signal. Never a blind repeat: the next round adopts what there is.
    if context.reason == "lease" or code < 0:
        return AGAIN
    if applied and not last and outcome.lost_contact(context, phase) and _back_in_contact(context):
        return AGAIN
    outcome.terraform_failed(context, phase)
    return DONE



def _back_in_contact(context: RunContext) -> bool:
    """Proxmox went away in the middle of the work: True when it answers again in time and nobody asked to stop."""
    context.say("Lost contact with Proxmox in the middle of the work; waiting for it to answer again")
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
