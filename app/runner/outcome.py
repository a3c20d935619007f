"""How a run ends: what Proxmox shows at the end, and the last transaction."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.adapters.terraform import events, workdir
from app.domain import failures
from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.errors import ProxmoxError, ProxmoxUnreachable, RunFailed
from app.log import get_logger
from app.runner import preflight
from app.runner.context import RunContext
from app.runner.patience import patient
from app.services import run_execution, states
from app.services.run_settlement import Seen

log = get_logger(__name__)
CRASH_LINES = 20
LOOK_PATIENCE_S, LOOK_POLL_S = 15.0, 0.5
# The VMID may have been taken by our own request, whose answer was lost, or by somebody else: the next look tells.
IN_DOUBT = frozenset({"proxmox_unreachable", "proxmox_proxy", "node_silent", "provider_died", "vmid_taken"})
TAKEN = "vmid_taken"
_STATUS = {"running": ServerStatus.RUNNING, "stopped": ServerStatus.STOPPED, "paused": ServerStatus.PAUSED}


@dataclass(frozen=True)
class Failure:
    """Why a run could not go on: code and arguments of the catalogue, and the raw text."""

    code: str
    args: Mapping[str, Any]
    detail: str

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "args": dict(self.args), "detail": self.detail[:8000]}


def applied(context: RunContext) -> None:
    """All that was planned is done."""
    _end(context, RunState.APPLIED, _seen(context, careful=False))


def nothing_to_do(context: RunContext) -> None:
    """The plan is empty: what was asked for is there. Once the apply has begun that is its good end, whoever began it."""
    now = patient(lambda uow: run_execution.guard(uow, context.run_id, context.fence).state)
    state = RunState.APPLIED if now == RunState.APPLYING else RunState.PLANNED_AND_FINISHED
    _end(context, state, _seen(context, careful=False))


def canceled(context: RunContext, phase: str) -> None:
    """Stopped on request: servers already begun were finished, no other was begun."""
    errors = [d for d in _errors(context, phase) if not events.of_the_interrupt(d)]
    error = _explained(context, errors).as_json() if errors else None
    _end(context, RunState.CANCELED, _seen(context, careful=True), error)


def complete(context: RunContext, phase: str) -> bool:
    """True when the interrupt came too late to leave anything out: all that was planned is done and in the saved state."""
    if not set(context.slugs) <= context.done or any(not events.of_the_interrupt(d) for d in _errors(context, phase)):
        return False
    known = states.instances(context.state.read().body)
    gone = context.facts.kind == RunKind.DELETE
    return all((slug not in known) if gone else (slug in known and not known[slug].tainted) for slug in context.slugs)


def terraform_failed(context: RunContext, phase: str) -> None:
    """Terraform said why; the catalogue says what it means."""
    errors = _errors(context, phase) or _unstructured(context, phase)
    _end(context, RunState.ERRORED, _seen(context, careful=True), _explained(context, errors).as_json())


def in_doubt(context: RunContext, phase: str) -> bool:
    """True when the phase failed in a way that leaves open what Proxmox did: unreachable, a proxy's answer, no provider left, a VMID just taken."""
    return _explained(context, _errors(context, phase)).code in IN_DOUBT


def taken(context: RunContext, phase: str) -> bool:
    """True when nothing failed but requests for VMIDs that were taken."""
    errors = _errors(context, phase)
    return bool(errors) and all(_explained(context, [error]).code == TAKEN for error in errors)


def failed(context: RunContext, failure: Failure) -> None:
    """Something else ended the run."""
    context.say(f"Stopped: {failure.code} {failure.detail}".rstrip())
    _end(context, RunState.ERRORED, _seen(context, careful=True), Failure(failure.code, {**_known(context), **failure.args}, failure.detail).as_json())


def _errors(context: RunContext, phase: str) -> list[events.Diagnostic]:
    return [d for d in events.diagnostics(context.events_of(phase)) if d.severity == "error"]


def _unstructured(context: RunContext, phase: str) -> list[events.Diagnostic]:
    """Return the end of what is not JSON as one error: a Terraform that crashed has no diagnostics."""
    words = context.words_of(phase)[-CRASH_LINES:]
    return [events.Diagnostic("error", words[0], "\n".join(words[1:]), None)] if words else []


def _explained(context: RunContext, errors: list[events.Diagnostic]) -> Failure:
    found = failures.explain([f"{d.summary}\n{d.detail}" for d in errors])
    # The card shows the first text at once: the one that the explanation is about.
    first = errors[found.index : found.index + 1]
    ordered = [*first, *(d for d in errors if d not in first)]
    slugs = sorted({d.slug for d in errors if d.slug})
    known = _known(context, [d.slug for d in first if d.slug])
    return Failure(found.code, {**known, **found.args, "servers": slugs}, "\n\n".join(_told(context, d) for d in ordered))


def _told(context: RunContext, diagnostic: events.Diagnostic) -> str:
    """Return Terraform's words, with the server's name where there are several."""
    text = re.sub(r"\n{2,}", "\n", f"{diagnostic.summary}\n{diagnostic.detail}".strip())
    names = {t.slug: t.name for t in context.facts.servers}
    return f"{names.get(diagnostic.slug, diagnostic.slug)}: {text}" if diagnostic.slug and len(names) > 1 else text


def _known(context: RunContext, slugs: Sequence[str] = ()) -> dict[str, str]:
    """What a failure's text may need and neither Terraform nor Proxmox says: of these servers, or of all."""
    nodes = sorted({t.node for t in context.facts.servers if t.slug in slugs or not slugs})
    return {"endpoint": context.facts.access.url, "auth_id": context.facts.access.auth_id, "node": ", ".join(nodes)}


def _seen(context: RunContext, careful: bool) -> dict[str, Seen] | None:
    """Look at our VMIDs in Proxmox; None when it cannot be asked. `careful` waits until Proxmox works on none of them."""
    try:
        known = states.instances(context.state.read().body)
    except Exception:
        log.exception("state_unreadable", run_id=context.run_id)
        known = {}
    end = time.monotonic() + LOOK_PATIENCE_S
    while True:
        try:
            return _look(context, known, careful)
        except (ProxmoxError, RunFailed) as exc:
            log.warning("end_not_seen", run_id=context.run_id, reason=str(exc))
            unseen = None if known or context.done else _unseen(context)
            # One lost connection must not make finished servers look unfinished.
            if unseen is not None or not isinstance(exc, ProxmoxUnreachable) or context.reason == "fenced" or time.monotonic() > end:
                return unseen
            time.sleep(LOOK_POLL_S)


def _look(context: RunContext, known: Mapping[str, states.Instance], careful: bool) -> dict[str, Seen]:
    with context.proxmox() as client:
        resources = preflight.wait_quiet(context, client) if careful else client.resources()
        out = {}
        for target in context.facts.servers:
            guest = resources.guest(target.vmid)
            instance = known.get(target.slug)
            # On a good end Terraform has just made or read it; otherwise the marker says whose it is.
            ours = guest is not None and (not careful or preflight.is_ours(client, guest, target))
            if guest is None or not ours:
                out[target.slug] = Seen(exists=False)
                continue
            # A good end leaves nothing unfinished; else only what Terraform said is done.
            begun = careful and target.slug in context.unfinished - context.done
            complete = instance is not None and not instance.tainted and not begun
            addresses = instance.addresses if instance else ()
            out[target.slug] = Seen(True, guest.node_name, _STATUS.get(guest.status), addresses, complete, target.slug in context.done)
        return out


def _unseen(context: RunContext) -> dict[str, Seen] | None:
    """Proxmox cannot be asked. Before any apply nothing can be there; afterwards nobody knows."""
    began = patient(lambda uow: run_execution.guard(uow, context.run_id, context.fence).apply_started_at)
    return {} if began is None else None


def _end(context: RunContext, state: RunState, seen: Mapping[str, Seen] | None, error: Mapping[str, Any] | None = None) -> None:
    patient(lambda uow: run_execution.end(uow, context.run_id, context.fence, state, seen, error))
    if not list(context.folder.glob("errored*.tfstate*")):
        workdir.remove(context.folder)
