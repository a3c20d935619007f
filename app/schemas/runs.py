"""Runs and servers as the API shows them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.domain.failures import remedy_of
from app.domain.run_activity import working
from app.domain.run_state import FINAL, RunKind
from app.domain.server_status import ServerStatus
from app.messages import hint_of, text_of
from app.models import PlanChange, Run, Server


class ServerQuery(BaseModel):
    """Query of `GET /api/servers`."""

    model_config = ConfigDict(frozen=True)
    limit: int | None = Field(None, ge=1, le=200)
    cursor: str | None = None
    q: str | None = Field(None, max_length=200)
    status: ServerStatus | None = None
    node: str | None = Field(None, max_length=64)
    tag: str | None = Field(None, max_length=64)
    owner: str | None = Field(None, max_length=64)
    template: str | None = Field(None, max_length=128)


class RunQuery(BaseModel):
    """Query of `GET /api/runs`."""

    model_config = ConfigDict(frozen=True)
    limit: int | None = Field(None, ge=1, le=200)
    cursor: str | None = None
    state: str | None = Field(None, max_length=32)
    kind: RunKind | None = None
    mine: bool = False
    server: str | None = Field(None, max_length=63)


class LogQuery(BaseModel):
    """Query of `GET /api/runs/<id>/log`."""

    model_config = ConfigDict(frozen=True)
    offset: int = Field(0, ge=0, le=2**53)


class Comment(BaseModel):
    """Body of apply and discard."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    comment: str = Field("", max_length=2000)


def server_json(server: Server) -> dict[str, Any]:
    """A server; its owner must be loaded."""
    return {
        "id": server.id, "name": server.name, "vmid": server.vmid, "node": server.node_name, "status": server.status,
        "ip_addresses": server.ip_addresses, "cores": server.cores, "memory_mib": server.memory_mib,
        "disks": [{"size_gib": d["size_gib"], "storage": d["storage"], "interface": d["interface"]} for d in server.disks],
        "networks": [{"network": n["network"], "ip": n["ip"], "bridge": n["bridge"], "vlan": n["vlan"]} for n in server.nics],
        "template": server.template_name, "username": server.username, "tags": server.tags, "description": server.description,
        "workspace": server.workspace_id, "owner": server.owner.username, "run_id": server.run_id,
        "busy": server.busy, "cpu_percent": server.cpu_percent,
        "memory_percent": server.memory_percent, "uptime_s": server.uptime_s, "created_at": server.created_at,
    }  # fmt: skip


def told(fact: dict[str, Any] | None) -> dict[str, Any] | None:
    """A stored {"code", "args"} with its text in the reader's language."""
    if not fact:
        return None
    code, args = str(fact["code"]), fact.get("args") or {}
    return {"code": code, "message": text_of(code, args), "hint": hint_of(code, args), **({"detail": fact["detail"]} if fact.get("detail") else {})}


def activity(run: Run) -> list[dict[str, Any]]:
    """What Proxmox works on now, by server; `percent` is there for clones only."""
    names = dict(zip(run.targets, run.names, strict=False))
    return [{"server": names.get(slug, slug), "percent": None, **now} for slug, now in working(run.activity).items()]


def failure(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """Why a run failed, and the name of what can be done about it."""
    shown = told(error)
    return {**shown, "remedy": remedy_of(shown["code"])} if shown else None


def run_json(run: Run) -> dict[str, Any]:
    """A run; its creator must be loaded."""
    return {
        "id": run.id, "task_id": run.task_id, "kind": run.kind, "state": run.state, "status": run.state, "servers": run.names,
        "workspace": run.workspace_id, "created_by": run.created_by.username, "apply": run.apply_mode, "plan": run.plan_summary,
        "progress": {"done": run.progress_done, "total": run.progress_total}, "waiting_for": told(run.waiting_for),
        "needs_approval": told(run.guard) if run.state.value == "planned" else None, "error": failure(run.error),
        "activity": activity(run), "stalled_at": run.stalled_at, "retry_of": run.retry_of_id,
        "cancel_requested_at": run.cancel_requested_at, "log_bytes": run.log_bytes, "created_at": run.created_at,
        "started_at": run.started_at, "planned_at": run.planned_at, "finished_at": run.finished_at,
    }  # fmt: skip


def change_json(change: PlanChange) -> dict[str, Any]:
    """One planned change."""
    return {"address": change.address, "server": change.name, "action": change.action, "reason": change.reason, "attributes": change.attributes}


def run_task_json(run: Run) -> dict[str, Any]:
    """A run as `GET /api/tasks/<task_id>` shows it."""
    error = told(run.error)
    return {
        "task_id": run.task_id, "kind": run.kind, "status": run.state,
        "progress": {"done": run.progress_done, "total": run.progress_total}, "waiting_for": told(run.waiting_for),
        "error": {k: error[k] for k in ("code", "message", "hint")} if error else None, "servers": run.names, "run_id": run.id,
        "created_at": run.created_at, "finished_at": run.finished_at if run.state in FINAL else None,
    }  # fmt: skip
