"""Faults of processes: those of a run, those of the instance, and all of it at once."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence

import redis

from tests.bench.floor import instance
from tests.chaos import points
from tests.chaos.fault import Act, Fault, during
from tests.chaos.world import World
from tests.stack import alive, children, processes

HANG_S, BROKER_S, DATABASE_S = 60.0, 60.0, 20.0
SOON_S, POLL_S = 2.0, 0.02
TRANSACTION_LIMIT_S = 10.0


# ---------------------------------------------------------------- processes of a run
def _kill_below(name: str) -> Act:
    def act(world: World, run_id: int) -> bool:
        # A phase begins before its processes do.
        end = time.monotonic() + SOON_S
        while not (struck := world.kill(world.below(run_id).get(name))) and time.monotonic() < end:
            time.sleep(POLL_S)
        world.struck_at = time.time()
        return struck

    return act


def kill_group(world: World, run_id: int) -> bool:
    """SIGKILL to Terraform and the provider."""
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


# ---------------------------------------------------------------- hanging for a while
def for_a_while(world: World, pids: Sequence[int], seconds: float) -> bool:
    """Stop processes, and let them go on after so many seconds; the round goes on meanwhile."""
    there = [pid for pid in pids if alive(pid)]
    world.after(seconds, world.pause(there))
    return bool(there)


def _hang(name: str) -> Act:
    def act(world: World, run_id: int) -> bool:
        pid = world.pid(name) if name == "worker" else world.below(run_id).get(name)
        return pid is not None and for_a_while(world, [pid], HANG_S)

    return act


def _hang_in_transaction(world: World, run_id: int) -> bool:
    """The runner is stopped where it holds locks in the database: stopped, looked at, and let go on until it is so."""
    end = time.monotonic() + TRANSACTION_LIMIT_S
    while time.monotonic() < end and (pid := world.below(run_id).get("runner")) is not None:
        world.kill(pid, signal.SIGSTOP)
        if points.in_transaction(world.stack, pid):
            world.struck_at = time.time()
            world.after(HANG_S, lambda pid=pid: world.kill(pid, signal.SIGCONT))  # type: ignore[misc]  # bound now
            return True
        world.kill(pid, signal.SIGCONT)
        time.sleep(world.rng.uniform(0, POLL_S))
    return False


def _hang_pool_child(world: World, _run_id: int) -> bool:
    worker = world.pid("worker")
    below = children(worker) if worker else []
    return bool(below) and for_a_while(world, [world.rng.choice(below)], HANG_S)


def _hang_part(name: str, seconds: float) -> Act:
    def act(world: World, _run_id: int) -> bool:
        pid = world.pid(name)
        # PostgreSQL's main process only accepts connections: those that are there work in processes of their own.
        return for_a_while(world, [pid, *children(pid)] if pid else [], seconds)

    return act


def _away(name: str, seconds: float) -> Act:
    """Nobody listens on its port: it is killed, and who would start it again is stopped for as long."""

    def act(world: World, _run_id: int) -> bool:
        assert world.stack.process is not None
        pid = world.pid(name)
        watcher = world.stack.process.pid
        if pid is None or not world.kill(watcher, signal.SIGSTOP):
            return False
        struck = world.kill(pid)
        world.after(seconds, lambda: world.kill(watcher, signal.SIGCONT))
        return struck

    return act


# ---------------------------------------------------------------- parts of the instance
def _kill_part(name: str) -> Act:
    return lambda world, _run_id: world.kill(world.pid(name))


def _kill_pool_child(world: World, _run_id: int) -> bool:
    worker = world.pid("worker")
    below = children(worker) if worker else []
    return world.kill(world.rng.choice(below)) if below else False


def kill_worker(world: World, _run_id: int) -> bool:
    """SIGKILL to the worker and its pool."""
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


def kill_every_process(world: World, _run_id: int) -> bool:
    """The power fails: SIGKILL to all that there is, runners, Terraform and PostgreSQL too; then it is started again."""
    process = world.stack.process
    assert process is not None
    # The watcher first, so that it starts nothing meanwhile.
    for pid in [process.pid, *processes(world.stack)]:
        world.kill(pid)
    process.wait()
    for pid in processes(world.stack):
        world.kill(pid)
    world.stack.start()
    return True


def _restart(world: World, _run_id: int) -> bool:
    assert world.stack.process is not None
    # Another fault may have stopped the watcher; nobody can ask a stopped process to end.
    world.kill(world.stack.process.pid, signal.SIGCONT)
    world.stack.stop()
    world.stack.start()
    return True


def _flush(world: World, _run_id: int) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(redis.Redis.from_url(instance(world.stack)["redis_url"], socket_timeout=2).flushall())
    return False


FAULTS: tuple[Fault, ...] = (
    *(during(f"kill {name}, {phase}", phase, _kill_below(name), noticed=True) for name in ("runner", "keeper", "terraform", "provider") for phase in ("planning", "cloning")),
    during("kill terraform's group", "cloning", kill_group, noticed=True),
    during("kill runner, keeper, terraform and provider", "cloning", _kill_all_of_run, noticed=True),
    during("stop runner for 60 s", "cloning", _hang("runner"), HANG_S, noticed=True),
    during("stop runner for 60 s in a transaction", "any", _hang_in_transaction, HANG_S, noticed=True),
    during("stop terraform for 60 s", "cloning", _hang("terraform"), HANG_S),
    during("stop worker for 60 s", "any", _hang("worker"), HANG_S),
    during("stop pool child for 60 s", "any", _hang_pool_child, HANG_S),
    *(during(f"kill {part}", "any", _kill_part(part)) for part in ("worker", "worker_actions", "web", "beat", "valkey")),
    *(during(f"kill postgres, {phase}", phase, _kill_part("postgres")) for phase in ("planning", "cloning")),
    during("kill pool child", "any", _kill_pool_child),
    during("kill worker and its children", "queued", kill_worker),
    during("kill run.py and start again", "cloning", _kill_everything),
    during("kill every process and start again", "cloning", kill_every_process, noticed=True),
    during("stop and start again", "cloning", _restart),
    during("flush valkey", "any", _flush),
    during("postgres hangs for 20 s", "cloning", _hang_part("postgres", DATABASE_S), DATABASE_S),
    during("postgres away for 20 s", "any", _away("postgres", DATABASE_S), DATABASE_S),
    during("valkey hangs for 60 s", "any", _hang_part("valkey", BROKER_S), BROKER_S),
    during("valkey away for 60 s", "any", _away("valkey", BROKER_S), BROKER_S),
)
