"""Faults of Proxmox, and what other people do in it."""

import time
from collections.abc import Callable

from tests.chaos import driver, points
from tests.chaos.fault import Act, Fault, during
from tests.chaos.world import World

REACH_S = 15.0
NODES = ("pve1", "pve2", "pve3")
ANOTHER = "11111111-2222-3333-4444-555555555555"  # an installation that is not this one


def _control(op: str, back: dict[str, object] | None = None, **arguments: object) -> Act:
    def act(world: World, _run_id: int) -> bool:
        world.stack.control(op, **arguments)
        if back is not None:
            world.later(lambda: world.stack.control(op, **back))
        return True

    return act


def _for(seconds: float, op: str, back: dict[str, object], **arguments: object) -> Act:
    """The same, taken back after so many seconds; the round goes on meanwhile."""

    def act(world: World, _run_id: int) -> bool:
        world.stack.control(op, **arguments)
        world.after(seconds, lambda: world.stack.control(op, **back))
        return True

    return act


def _node_offline(world: World, _run_id: int) -> bool:
    node = world.rng.choice(NODES)
    world.stack.control("node", node=node, online=False)
    time.sleep(5)
    world.stack.control("node", node=node, online=True)
    return True


def _kill_simulator(world: World, _run_id: int) -> bool:
    """It is started again by the watcher, which another fault may have stopped for a while."""
    return world.kill(world.pid("simulator"))


def _locked_template(world: World, run_id: int) -> bool:
    """Somebody's backup holds the lock file of the template for a while: each clone of it waits and is refused."""
    rows = world.sql(f"select t.vmid from template t join server s on s.template_id = t.id join run r on r.workspace_id = s.workspace_id where r.id = {run_id} limit 1")
    if not rows:
        return False
    [(vmid,)] = rows
    world.stack.control("lock", vmid=vmid, file=True)
    world.after(4, lambda: world.stack.control("lock", vmid=vmid))
    return True


# ---------------------------------------------------------------- other people's VMs
def _foreign(world: World, vmid: int, **more: object) -> bool:
    try:
        world.stack.control("create_foreign", **{"vmid": vmid, "name": f"theirs-{vmid}", "node": world.rng.choice(NODES), "running": True, **more})
    except OSError:
        return False  # somebody was faster
    world.keep_foreign(vmid)
    return True


def _awaited(world: World, run_id: int) -> list[tuple[int, str, str]]:
    """Return VMID, name and marker of the run's servers that are not there yet."""
    rows = world.sql(
        "select s.vmid, s.name, s.marker from server s join run r on r.workspace_id = s.workspace_id "
        f"where r.id = {run_id} and s.status = 'creating' and s.deleted_at is null order by s.vmid"
    )
    there = world.stack.vms()
    return [row for row in rows if row[0] not in there]


def _before_the_apply(name: str, act: Act) -> Fault:
    """A create stands still between its plan and its apply while somebody else is at work."""

    def strike(world: World) -> int | None:
        with points.armed(world.stack, points.PLANNED) as stop:
            driver.create(world, "dana", world.rng.randint(1, 3), confirm=False)
            run_id = world.accepted[-1].run_id
            if run_id is None or stop.reached(REACH_S, run_id) is None:
                return None
            world.struck_at = time.time()
            return run_id if act(world, run_id) else None

    return Fault(name, strike)


def _foreign_on_reserved(world: World, run_id: int) -> bool:
    """Somebody makes a VM of his own with a VMID that we hold for a server that is not there yet."""
    free = _awaited(world, run_id)
    return bool(free) and _foreign(world, world.rng.choice(free)[0])


def _of_another_installation(world: World, run_id: int) -> bool:
    """Another installation on the same cluster makes a server of the same name with the VMID that we hold for ours."""
    free = _awaited(world, run_id)
    if not free:
        return False
    vmid, name, marker = world.rng.choice(free)
    theirs = "/".join(ANOTHER if index == 1 else part for index, part in enumerate(marker.split("/")))
    return _foreign(world, vmid, name=name, config={"description": theirs, "tags": "tpm"})


def _foreign_on_reused(world: World, _run_id: int) -> bool:
    """The VMID of a server that was deleted is given to somebody else's VM, in the moment its quarantine is over."""
    there = world.stack.vms()
    rows = world.sql("select value::int from reservation where kind = 'vmid' and quarantined_until is not null order by value")
    free = [vmid for (vmid,) in rows if vmid not in there]
    if not free:
        return False
    vmid = world.rng.choice(free)
    if not _foreign(world, vmid):
        return False
    world.tampered.discard(vmid)
    world.write(f"update reservation set quarantined_until = clock_timestamp() where kind = 'vmid' and value = '{vmid}' and quarantined_until is not null")
    return True


# ---------------------------------------------------------------- other people's hands in ours
def _elsewhere(world: World, run_id: int) -> list[int]:
    """Return the VMIDs of servers that the run has nothing to do with."""
    rows = world.sql(
        f"select s.vmid from server s where s.status in ('running', 'stopped') and s.deleted_at is null and s.busy_run_id is null "
        f"and s.workspace_id <> (select workspace_id from run where id = {run_id}) order by s.id"
    )
    there = world.stack.vms()
    return [vmid for (vmid,) in rows if vmid in there and vmid not in world.tampered and not there[vmid]["lock"]]


def _changed_behind(world: World, run_id: int) -> bool:
    """Somebody deletes, renames or resizes a server of ours."""
    if not (there := _elsewhere(world, run_id)):
        return False
    vmid = world.rng.choice(there)
    world.tampered.add(vmid)
    what = world.rng.choice(("delete", "rename", "set"))
    arguments: dict[str, object] = {"rename": {"name": f"renamed-{vmid}"}, "set": {"config": {"cores": 4}}}.get(what, {})
    world.stack.control(what, vmid=vmid, **arguments)
    return True


def _migrated_behind(world: World, run_id: int) -> bool:
    """Somebody migrates a server of ours; nothing else about it changes, so all checks go on for it."""
    if not (there := _elsewhere(world, run_id)):
        return False
    vmid = world.rng.choice(there)
    now = world.stack.vms()[vmid]["node"]
    world.stack.control("move", vmid=vmid, node=world.rng.choice([node for node in NODES if node != now]))
    return True


def _swallowed(method: str, suffix: str) -> Act:
    return _control("swallow", method=method, suffix=suffix, status=502, message="Bad Gateway", times=1)


_REFUSED: tuple[tuple[str, str, Callable[..., bool]], ...] = (
    ("clones answered with 500", "planning", _control("fail", method="POST", suffix="/clone", status=500, message="got no worker upid - start worker failed", times=1)),
    ("config answered with 500", "cloning", _control("fail", method="PUT", suffix="/config", status=500, message="can't lock file - got timeout", times=1)),
    ("start answered with 500", "cloning", _control("fail", method="POST", suffix="/status/start", status=500, message="can't lock file - got timeout", times=1)),
    ("clone done, answered with 502", "planning", _swallowed("POST", "/clone")),
    ("config done, answered with 502", "cloning", _swallowed("PUT", "/config")),
    ("start done, answered with 502", "cloning", _swallowed("POST", "/status/start")),
    ("template locked for 4 s", "planning", _locked_template),
    ("one clone of a template at a time", "planning", _for(8, "clone_limit", {"limit": 0}, limit=1)),
    ("clones of 8 s", "planning", _for(20, "time", {"clone_seconds": 2}, clone_seconds=8)),
    ("storage full", "planning", _control("fill", {"storage": "nfs", "gib": 0}, storage="nfs", gib=100_000)),
    ("storages full in the middle", "cloning", lambda world, _run_id: all([_full(world, name) for name in ("nfs", "local-lvm")])),
    ("foreign VM on a reused VMID", "any", _foreign_on_reused),
    ("server changed behind our back", "any", _changed_behind),
    ("server migrated behind our back", "any", _migrated_behind),
    ("simulator restarted", "cloning", _kill_simulator),
)  # fmt: skip


def _full(world: World, storage: str) -> bool:
    return _control("fill", {"storage": storage, "gib": 0}, storage=storage, gib=100_000)(world, 0)


FAULTS: tuple[Fault, ...] = (
    during("node offline for 5 s", "cloning", _node_offline),
    during("no quorum for 5 s", "cloning", _for(5, "quorum", {"quorate": True}, quorate=False), 5),
    during("connections dropped for 4 s", "any", _for(4, "network", {"drop_rate": 0}, drop_rate=0.15), 4),
    during("connections hang for 20 s", "any", _for(6, "network", {"hang_rate": 0}, hang_rate=0.2, hang_secs=20), 20),
    during("network latency of 0.3 to 1 s", "any", _for(15, "network", {"latency": 0, "jitter": 0}, latency=0.3, jitter=0.7), 15),
    during("Proxmox down for 5 s", "cloning", _control("down", seconds=5), 5),
    *(during(name, phase, act) for name, phase, act in _REFUSED),
    _before_the_apply("foreign VM on a reserved VMID", _foreign_on_reserved),
    _before_the_apply("another installation's server on a reserved VMID", _of_another_installation),
)
