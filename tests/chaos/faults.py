"""What goes wrong: each fault strikes when a run is in its phase, and says which run it hit."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from tests.bench.floor import instance
from tests.chaos.world import World
from tests.stack import alive, children, eventually

HANG_S = 60.0
NODES = ("pve1", "pve2", "pve3")


@dataclass(frozen=True)
class Fault:
    """`strike` gets the run that is in the phase, and returns False when its target was not there."""

    name: str
    phase: str
    strike: Callable[[World, int], bool]


@dataclass
class Hit:
    """A fault that struck: `run_id` was in the phase, `at` on the database's clock (one machine)."""

    fault: str
    run_id: int
    at: float
    detected_s: float | None = None
    recovered_s: float | None = None


def strike(world: World, fault: Fault) -> Hit | None:
    """Wait for a run in the fault's phase and strike; None when there was nothing to hit."""
    run_id = world.await_run(fault.phase)
    if run_id is None:
        return None
    at = time.time()
    return Hit(fault.name, run_id, at) if fault.strike(world, run_id) else None


# ---------------------------------------------------------------- processes of a run
def _kill_below(name: str) -> Callable[[World, int], bool]:
    def act(world: World, run_id: int) -> bool:
        return world.kill(world.below(run_id).get(name))

    return act


def _kill_group(world: World, run_id: int) -> bool:
    pid = world.below(run_id).get("terraform")
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
        return True
    return False


def _kill_all_of_run(world: World, run_id: int) -> bool:
    found = world.below(run_id)
    for pid in found.values():
        world.kill(pid)
    return len(found) > 1


def _hang(name: str) -> Callable[[World, int], bool]:
    def act(world: World, run_id: int) -> bool:
        pid = world.pid(name) if name == "worker" else world.below(run_id).get(name)
        if not world.kill(pid, signal.SIGSTOP):
            return False
        timer = threading.Timer(HANG_S, lambda: world.kill(pid, signal.SIGCONT))
        timer.start()
        world.later(timer.join)
        return True

    return act


# ---------------------------------------------------------------- parts of the instance
def _kill_part(name: str) -> Callable[[World, int], bool]:
    return lambda world, _run_id: world.kill(world.pid(name))


def _kill_pool_child(world: World, _run_id: int) -> bool:
    worker = world.pid("worker")
    below = children(worker) if worker else []
    return world.kill(world.rng.choice(below)) if below else False


def _kill_worker_with_children(world: World, _run_id: int) -> bool:
    worker = world.pid("worker")
    if worker is None:
        return False
    below = children(worker)
    struck = world.kill(worker)
    for pid in below:
        world.kill(pid)
    return struck


def _kill_everything(world: World, _run_id: int) -> bool:
    process = world.stack.process
    assert process is not None
    process.kill()
    process.wait()
    world.stack.start()
    return True


def _restart(world: World, _run_id: int) -> bool:
    world.stack.stop()
    world.stack.start()
    return True


def _flush(world: World, _run_id: int) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(redis.Redis.from_url(instance(world.stack)["redis_url"], socket_timeout=2).flushall())
    return False


def _hang_part(name: str, seconds: float) -> Callable[[World, int], bool]:
    def act(world: World, _run_id: int) -> bool:
        pid = world.pid(name)
        # PostgreSQL's main process only accepts connections: those that are there work in processes of their own.
        every = [pid, *children(pid)] if pid else []
        stopped = [p for p in every if world.kill(p, signal.SIGSTOP)]
        try:
            time.sleep(seconds)
        finally:
            for p in stopped:
                world.kill(p, signal.SIGCONT)
        return bool(stopped)

    return act


# ---------------------------------------------------------------- Proxmox
def _control(op: str, back: dict[str, object] | None = None, **arguments: object) -> Callable[[World, int], bool]:
    def act(world: World, _run_id: int) -> bool:
        world.stack.control(op, **arguments)
        if back is not None:
            world.later(lambda: world.stack.control(op, **back))
        return True

    return act


def _node_offline(world: World, _run_id: int) -> bool:
    node = world.rng.choice(NODES)
    world.stack.control("node", node=node, online=False)
    time.sleep(5)
    world.stack.control("node", node=node, online=True)
    return True


def _no_quorum(world: World, _run_id: int) -> bool:
    world.stack.control("quorum", quorate=False)
    time.sleep(5)
    world.stack.control("quorum", quorate=True)
    return True


def _bad_network(world: World, _run_id: int) -> bool:
    world.stack.control("network", drop_rate=0.15)
    time.sleep(4)
    world.stack.control("network", drop_rate=0.0)
    return True


def _restart_simulator(world: World, _run_id: int) -> bool:
    before = world.pid("simulator")
    if not world.kill(before):
        return False
    eventually(lambda: (pid := world.pid("simulator")) not in (None, before) and pid and alive(pid), 30, "the simulator is back")
    return True


def _foreign_on_reserved(world: World, run_id: int) -> bool:
    """Somebody makes a VM of his own with a VMID that we hold for a server that is not there yet."""
    rows = world.sql(
        f"select s.vmid from server s join run r on r.workspace_id = s.workspace_id where r.id = {run_id} and s.status = 'creating' and s.deleted_at is null"
    )
    free = sorted(vmid for (vmid,) in rows if vmid not in world.stack.vms())
    if not free:
        return False
    vmid = world.rng.choice(free)
    try:
        world.stack.control("create_foreign", vmid=vmid, name=f"theirs-{vmid}", node=world.rng.choice(NODES), running=True)
    except OSError:
        return False  # ours was faster
    world.keep_foreign(vmid)
    return True


def _changed_behind(world: World, run_id: int) -> bool:
    """Somebody deletes, renames or resizes a server of ours that the run has nothing to do with."""
    rows = world.sql(
        f"select s.vmid from server s where s.status in ('running', 'stopped') and s.deleted_at is null and s.busy_run_id is null "
        f"and s.workspace_id <> (select workspace_id from run where id = {run_id}) order by s.id"
    )
    there = [vmid for (vmid,) in rows if vmid in world.stack.vms() and vmid not in world.tampered]
    if not there:
        return False
    vmid = world.rng.choice(there)
    world.tampered.add(vmid)
    what = world.rng.choice(("delete", "rename", "set"))
    arguments: dict[str, object] = {"rename": {"name": f"renamed-{vmid}"}, "set": {"config": {"cores": 4}}}.get(what, {})
    world.stack.control(what, vmid=vmid, **arguments)
    return True


FAULTS: tuple[Fault, ...] = (
    *(Fault(f"kill {name}, {phase}", phase, _kill_below(name)) for name in ("runner", "keeper", "terraform", "provider") for phase in ("planning", "cloning")),
    Fault("kill terraform's group", "cloning", _kill_group),
    Fault("kill runner, keeper, terraform and provider", "cloning", _kill_all_of_run),
    *(Fault(f"stop {name} for 60 s", "cloning", _hang(name)) for name in ("runner", "terraform")),
    Fault("stop worker for 60 s", "any", _hang("worker")),
    *(Fault(f"kill {part}", "any", _kill_part(part)) for part in ("worker", "worker_actions", "web", "beat", "valkey")),
    *(Fault(f"kill postgres, {phase}", phase, _kill_part("postgres")) for phase in ("planning", "cloning")),
    Fault("kill pool child", "any", _kill_pool_child),
    Fault("kill worker and its children", "queued", _kill_worker_with_children),
    Fault("kill run.py and start again", "cloning", _kill_everything),
    Fault("stop and start again", "cloning", _restart),
    Fault("flush valkey", "any", _flush),
    Fault("postgres hangs for 20 s", "cloning", _hang_part("postgres", 20)),
    Fault("valkey hangs for 10 s", "any", _hang_part("valkey", 10)),
    Fault("node offline for 5 s", "cloning", _node_offline),
    Fault("no quorum for 5 s", "cloning", _no_quorum),
    Fault("connections dropped for 4 s", "any", _bad_network),
    Fault("Proxmox down for 5 s", "cloning", _control("down", seconds=5)),
    Fault("clones answered with 500", "planning", _control("fail", method="POST", suffix="/clone", status=500, message="got no worker upid - start worker failed", times=1)),
    Fault("config answered with 500", "cloning", _control("fail", method="PUT", suffix="/config", status=500, message="can't lock file - got timeout", times=1)),
    Fault("storage full", "planning", _control("fill", {"storage": "nfs", "gib": 0}, storage="nfs", gib=100_000)),
    Fault("simulator restarted", "cloning", _restart_simulator),
    Fault("foreign VM on a reserved VMID", "planning", _foreign_on_reserved),
    Fault("server changed behind our back", "any", _changed_behind),
)
