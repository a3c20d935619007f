"""What people do: requests of every kind, chosen by the seed, repeated with their key until somebody answers."""

import time
import urllib.error
from http.client import HTTPException
from typing import Any

from tests.chaos.world import Accepted, World
from tests.stack import Answer, Api

PATIENCE_S = 150.0
TEMPLATES = ("ubuntu-24.04", "debian-12", "rocky-9")
OPERATIONS = ("create", "create", "create", "batch", "batch", "change", "change", "delete", "power", "power", "snapshot", "cancel", "decide")


class NobodyAnswers(Exception):  # noqa: N818
    """A request got no answer within the patience of its sender."""


def ask(world: World, who: Api, method: str, path: str, body: Any = None) -> Answer:
    """Send a request with a key of its own, and again while nobody answers or the answer is that nobody can."""
    headers = {"Idempotency-Key": f"chaos-{world.rng.getrandbits(64):x}"}
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = who.call(method, path, body, headers, timeout_s=15)
            # Only the cluster knows its snapshots: that it does not answer is an answer.
            if answer.status < 500 or "cluster_away" in answer.text:
                return answer
            why = f"{answer.status} {answer.text[:200]}"
        except (urllib.error.URLError, OSError, HTTPException) as exc:
            why = f"{type(exc).__name__}: {exc}"
        if time.monotonic() > end:
            raise NobodyAnswers(f"{method} {path}: {why}")
        time.sleep(0.2)


def act(world: World) -> str:
    """Do one thing; returns what."""
    name = world.rng.choice(OPERATIONS)
    who = world.rng.choice([*world.people, "dana", "egon"])
    return f"{who} {_OPERATIONS[name](world, who)}"


def _note(world: World, who: str, kind: str, answer: Answer, names: list[str]) -> str:
    if answer.status == 202:
        body = answer.json
        for task_id in body.get("task_ids") or [body["task_id"]]:
            world.accepted.append(Accepted(task_id, kind, who, body.get("servers", names), body.get("run_id")))
    return f"{kind} {', '.join(names)}: {answer.status}"


def _servers(world: World, who: str, *statuses: str) -> list[str]:
    found = ask(world, world.people[who], "GET", "/api/servers?limit=100").json["items"]
    mine = [s["name"] for s in found if s["status"] in statuses and s["vmid"] not in world.tampered and (s["owner"] == who or who in ("admin", "olga"))]
    return sorted(mine)


def create(world: World, who: str, count: int = 1) -> str:
    """Ask for new servers."""
    name = world.new_name()
    body: dict[str, Any] = {"name": name, "template": world.rng.choice(TEMPLATES), "memory_mib": 1024, "count": count}
    if world.rng.random() < 0.25:
        body["apply"] = "confirm"
    answer = ask(world, world.people[who], "POST", "/api/servers/async", body)
    return _note(world, who, "create", answer, answer.json.get("servers", [name]))


def batch(world: World, who: str) -> str:
    """Ask for several servers at once."""
    return create(world, who, world.rng.randint(2, 5))


def change(world: World, who: str) -> str:
    """Resize or label a server."""
    names = _servers(world, who, "running", "stopped")
    if not names:
        return create(world, who)
    name = world.rng.choice(names)
    body = world.rng.choice(({"tags": [f"t{world.number}"]}, {"cores": world.rng.randint(1, 3)}, {"description": f"seen {world.number}"}, {"memory_mib": 1536}))
    return _note(world, who, "change", ask(world, world.people[who], "PATCH", f"/api/servers/{name}", body), [name])


def delete(world: World, who: str) -> str:
    """Delete a server."""
    names = _servers(world, who, "running", "stopped", "failed")
    if len(names) < 2:
        return create(world, who)
    name = world.rng.choice(names)
    return _note(world, who, "delete", ask(world, world.people[who], "DELETE", f"/api/servers/{name}", {"confirm": name}), [name])


def power(world: World, who: str) -> str:
    """Stop, start or restart some servers."""
    names = _servers(world, who, "running", "stopped")
    if not names:
        return create(world, who)
    chosen = sorted(world.rng.sample(names, min(len(names), world.rng.randint(1, 3))))
    action = world.rng.choice(("start", "stop", "shutdown", "reboot", "reset"))
    answer = ask(world, world.people[who], "POST", "/api/servers/bulk_action/async", {"names": chosen, "action": action})
    return _note(world, who, action, answer, chosen)


def snapshot(world: World, who: str) -> str:
    """Make a snapshot of a server, go back to one, or delete one."""
    names = _servers(world, who, "running", "stopped")
    if not names:
        return create(world, who)
    name = world.rng.choice(names)
    path, method = f"/api/servers/{name}/snapshots", "POST"
    body: dict[str, Any] = {}
    listed = ask(world, world.people[who], "GET", path)
    there = sorted(s["name"] for s in listed.json["items"]) if listed.status == 200 else []
    what = world.rng.choice(("snapshot_create", "snapshot_rollback", "snapshot_delete")) if there else "snapshot_create"
    if what == "snapshot_create":
        body = {"name": f"s-{world.number}-{len(there)}"}
    else:
        path += "/" + world.rng.choice(there)
        method, path = ("DELETE", path) if what == "snapshot_delete" else ("POST", path + "/rollback")
    return _note(world, who, what, ask(world, world.people[who], method, path, body), [name])


def cancel(world: World, who: str) -> str:
    """Cancel any run that has not ended."""
    runs = ask(world, world.people[who], "GET", "/api/runs?state=open").json["items"]
    if not runs:
        return create(world, who)
    run_id = world.rng.choice(sorted(r["id"] for r in runs))
    said = f"cancel run {run_id}: {ask(world, world.people[who], 'POST', f'/api/runs/{run_id}/cancel', {}).status}"
    if world.rng.random() < 0.3:
        said += f", stop it: {ask(world, world.people['olga'], 'POST', f'/api/runs/{run_id}/stop', {}).status}"
    return said


def decide(world: World, who: str) -> str:
    """Apply or discard a plan that waits."""
    runs = ask(world, world.people["olga"], "GET", "/api/runs?state=planned").json["items"]
    if not runs:
        return batch(world, who)
    run_id, verb = world.rng.choice(sorted(r["id"] for r in runs)), world.rng.choice(("apply", "apply", "discard"))
    return f"{verb} run {run_id}: {ask(world, world.people['olga'], 'POST', f'/api/runs/{run_id}/{verb}', {}).status}"


_OPERATIONS = {"create": create, "batch": batch, "change": change, "delete": delete, "power": power, "snapshot": snapshot, "cancel": cancel, "decide": decide}
