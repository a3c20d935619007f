"""What must be true once a round has settled: checked against the simulated cluster itself, not against our tables alone."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.world import World, descendants
from tests.stack import ROOT, eventually, processes

FINAL = "('applied', 'planned_and_finished', 'errored', 'canceled', 'discarded')"
REPLANNED = 3  # workspaces a round
OUR_OWN = ("internal_error", "run_state_conflict", "state_refused", "state_malformed", "plan_changed", "server_gone", "former_terraform_hangs", "import_failed")
RUN_PROCESSES = ("terraform", "terraform-provider")
Check = Callable[[World, dict[int, dict[str, Any]]], Iterator[str]]


def violations(world: World) -> list[str]:
    """Return every sentence that is not true."""
    vms = world.stack.vms()
    return [f"{check.__name__}: {sentence}" for check in CHECKS for sentence in check(world, vms)]


def accepted_requests_have_ended(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Each 202 names a task that is final, and whose result can be had."""
    for accepted in world.accepted:
        task = world.people["admin"].get(f"/api/tasks/{accepted.task_id}")
        if task["finished_at"] is None:
            yield f"{accepted.kind} of {accepted.names} is {task['status']}"
    world.accepted.clear()


def ours_are_there_once_and_nothing_else(world: World, vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Servers and VMs with our marker belong together, one to one; nobody made what nobody asked for."""
    rows = world.sql("select name, vmid, marker, status, node_name from server where deleted_at is null")
    ours = {vmid: vm for vmid, vm in vms.items() if vmid not in world.foreign}
    by_vmid = {vmid: (name, marker, status) for name, vmid, marker, status, _ in rows}
    for vmid, vm in ours.items():
        if vmid not in by_vmid:
            if vmid not in world.tampered:
                yield f"VM {vmid} ({vm['name']}) belongs to no server: {str(vm['config'].get('description'))[:90]!r}"
        elif vmid not in world.tampered:
            name, marker, _ = by_vmid[vmid]
            if vm["name"] != name or not str(vm["config"].get("description", "")).startswith(marker):
                yield f"VM {vmid} is {vm['name']!r}, its server {name!r}, marker {str(vm['config'].get('description'))[:90]!r}"
            if vm["lock"]:
                yield f"VM {vmid} ({name}) is locked: {vm['lock']}"
    for vmid, (name, _, status) in by_vmid.items():
        if vmid not in ours and vmid not in world.tampered:
            yield f"server {name} ({status}) has no VM {vmid}"
        if status in ("creating", "deleting"):
            yield f"server {name} is {status} and nobody works on it"
    names = Counter(vm["name"] for vmid, vm in ours.items() if vmid not in world.tampered)
    yield from (f"{count} VMs are named {name}" for name, count in names.items() if count > 1)


def rows_and_proxmox_agree(world: World, vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """What a server's row says of node, power and size is what Proxmox has, once the inventory has looked."""
    def differences() -> list[str]:
        found = []
        for name, vmid, status, node, cores, memory in world.sql(
            "select s.name, s.vmid, s.status, s.node_name, s.cores, s.memory_mib from server s join run r on r.id = s.run_id "
            "where s.deleted_at is null and r.state = 'applied' and s.status in ('running', 'stopped', 'unknown')"
        ):
            vm = now.get(vmid)
            if vm is None or vmid in world.tampered:
                continue
            there = (vm["status"], vm["node"], int(vm["config"].get("cores", 1)), int(vm["config"].get("memory", 0)))
            if there != (status, node, cores, memory):
                found.append(f"{name}: row {(status, node, cores, memory)}, Proxmox {there}")
        return found

    now = vms
    try:
        eventually(lambda: not differences(), 25)
    except AssertionError:
        now = world.stack.vms()
        yield from differences()


def foreign_guests_are_untouched(world: World, vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Guests of others are what they were, bit for bit."""
    for vmid, digest in world.foreign.items():
        if vmid not in vms:
            yield f"foreign guest {vmid} is gone"
        elif world.stack.control("digest", vmid=vmid) != digest:
            yield f"foreign guest {vmid} ({vms[vmid]['name']}) was changed"


def applied_runs_made_what_they_planned(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """A create that ended well has a server of each name, unless a later delete took it."""
    for run_id, names in world.sql("select id, names from run where kind = 'create' and state = 'applied'"):
        made = {row[0] for row in world.sql(f"select name from server s join run r on r.workspace_id = s.workspace_id where r.id = {run_id} and (s.deleted_at is null or exists (select 1 from run d where d.workspace_id = s.workspace_id and d.kind = 'delete' and d.targets ? s.slug))")}
        missing = set(names) - made
        if missing:
            yield f"run {run_id} is applied, but {sorted(missing)} are not there"


def nothing_is_held_by_nobody(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """No slot, lock or reservation of something that has ended."""
    questions = {
        "slot": f"select s.resource || ' of run ' || s.run_id from slot s join run r on r.id = s.run_id where r.state in {FINAL}",
        "busy server": "select name from server where deleted_at is null and (busy_run_id is not null or busy_action_id is not null)",
        "reservation": "select r.kind || ' ' || r.value from reservation r left join server s on s.id = r.server_id "
                       "where (s.id is null or s.deleted_at is not null) and r.quarantined_until is null",
        "server without its VMID": "select s.name from server s where s.deleted_at is null and not exists "
                                   "(select 1 from reservation r where r.server_id = s.id and r.kind = 'vmid' and r.value = s.vmid::text and r.quarantined_until is null)",
        "outbox row": "select kind || ' ' || id from outbox where created_at < clock_timestamp() - interval '10 s'",
    }  # fmt: skip
    for what, question in questions.items():
        yield from (f"{what}: {found}" for (found,) in world.sql(question))


def each_run_ended_once_and_told_each_once(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """One final event a run; its requester was told of the end, nobody twice."""
    for run_id, count in world.sql(
        f"select r.id, count(e.id) from run r left join run_event e on e.run_id = r.id and e.name in {FINAL} where r.state in {FINAL} group by r.id having count(e.id) <> 1"
    ):
        yield f"run {run_id} has {count} final events"
    for run_id, count in world.sql(
        f"select r.id, count(n.id) from run r left join notification n on n.run_id = r.id and n.user_id = r.created_by_id and n.event_key = 'run:' || r.id || ':end' "
        f"where r.state in {FINAL} group by r.id having count(n.id) <> 1"
    ):
        yield f"the requester of run {run_id} was told {count} times"


def no_run_fails_of_itself(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Whatever happens to a run, the reason it ends with is never a fault of the product's own."""
    codes = ", ".join(f"'{code}'" for code in OUR_OWN)
    for run_id, code, detail in world.sql(f"select id, error->>'code', error->>'detail' from run where id > {world.judged} and state = 'errored' and error->>'code' in ({codes})"):
        yield f"run {run_id} ended with {code}: {(detail or '')[:200]}"
    world.judged = world.newest_run()


def logs_have_no_hole(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """The pieces of each log lie one behind the other, and nothing of Terraform's output is there twice."""
    yield from (
        f"run {run_id}: a piece at {offset}, the former one ends at {end}"
        for run_id, offset, end in world.sql(
            "select run_id, log_offset, expected from (select run_id, log_offset, "
            "coalesce(lag(log_offset + length) over (partition by run_id order by log_offset), 0) as expected from run_log) p where log_offset <> expected"
        )
    )
    yield from (
        f"run {run_id}: {text!r} stands there {count} times"
        for run_id, text, count in world.sql(
            "select run_id, line, count(*) from run_log, regexp_split_to_table(text, E'\\n') line where line like '%Creation complete%' group by 1, 2 having count(*) > 1"
        )
    )


def a_new_plan_changes_nothing(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """State, rows and Proxmox agree to the last attribute: Terraform finds nothing to do in the workspaces used last."""
    rows = world.sql(
        f"select distinct on (r.workspace_id) r.workspace_id, r.kind, r.state, r.finished_at from run r where r.state in {FINAL} "
        "and exists (select 1 from server s where s.workspace_id = r.workspace_id and s.deleted_at is null and s.in_state) "
        "order by r.workspace_id, r.id desc"
    )
    spoilt = {row[0] for row in world.sql("select workspace_id from server where vmid in (" + ", ".join(map(str, [0, *world.tampered])) + ")")}
    # What a change that failed or was stopped left half done stays visible until somebody repeats it.
    asked = [r for r in rows if r[0] not in spoilt and (r[1] == "create" or r[2] not in ("errored", "canceled"))]
    chosen = [str(r[0]) for r in sorted(asked, key=lambda r: r[3], reverse=True)[:REPLANNED]]
    if not chosen:
        return
    simulator = world.stack.info["simulator"]
    secret = Path(simulator["token_file"]).read_text(encoding="utf-8").strip()
    access = {"PROXMOX_VE_API_TOKEN": f"{simulator['token_id']}={secret}", "SSL_CERT_FILE": simulator["ca_file"]}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.replan", *chosen], cwd=ROOT, env=world.stack.env, input=json.dumps(access), capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        yield f"cannot plan: {done.stderr[-600:]}"
        return
    for workspace_id, found in json.loads(done.stdout.splitlines()[-1]).items():
        yield from (f"workspace {workspace_id}: {change}" for change in found)


def no_process_is_left_over(world: World, _vms: dict[int, dict[str, Any]]) -> Iterator[str]:
    """When no run is open no runner, keeper, Terraform or provider lives."""
    def left() -> dict[int, str]:
        assert world.stack.process is not None
        family = {world.stack.process.pid, *descendants(world.stack.process.pid)}
        found = processes(world.stack)
        return {pid: line for pid, line in found.items() if pid not in family or any(name in line for name in RUN_PROCESSES) and "celery" not in line}

    try:
        eventually(lambda: not left(), 30)
    except AssertionError:
        yield from (f"{pid}: {line[:120]}" for pid, line in left().items())


CHECKS: tuple[Check, ...] = (
    accepted_requests_have_ended, ours_are_there_once_and_nothing_else, rows_and_proxmox_agree, foreign_guests_are_untouched,
    applied_runs_made_what_they_planned, nothing_is_held_by_nobody, each_run_ended_once_and_told_each_once, no_run_fails_of_itself, logs_have_no_hole,
    a_new_plan_changes_nothing, no_process_is_left_over,
)  # fmt: skip


def story(world: World, run_id: int) -> str:
    """Return a run's timeline, for the report of a violation."""
    rows = world.sql(f"select name, at, detail from run_event where run_id = {run_id} order by id")
    return "\n".join(f"      {at:%H:%M:%S.%f} {name} {json.dumps(detail)[:160]}" for name, at, detail in rows)
