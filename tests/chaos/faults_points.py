"""Faults at chosen points: somebody stands still in the middle of a step, and something is killed right there."""

import signal
import time
from contextlib import suppress


from tests.chaos import driver, points
from tests.chaos.fault import Act, Fault
from tests.chaos.faults_processes import kill_every_process, kill_group, kill_worker
from tests.chaos.points import Point, Reached
from tests.chaos.world import World
from tests.stack import alive

SOON_S, LIMIT_S, POLL_S = 2.0, 15.0, 0.01
EVERYTHING = "every process"
OF_THE_RUN = ("runner", "runner and keeper", "terraform's group", EVERYTHING)


def _kill_runner(world: World, run_id: int) -> bool:
    return world.kill(world.below(run_id).get("runner"))


def _kill_runner_and_keeper(world: World, run_id: int) -> bool:
    found = world.below(run_id)
    return [world.kill(found.get(name)) for name in ("runner", "keeper")][0]


VICTIMS: dict[str, Act] = {
    "runner": _kill_runner, "runner and keeper": _kill_runner_and_keeper, "terraform's group": kill_group, "worker": kill_worker,
    EVERYTHING: kill_every_process,
}  # fmt: skip


# ---------------------------------------------------------------- in a transaction
def _in_transaction(what: str, point: Point, victim: str, committed: bool) -> Fault:
    def strike(world: World) -> int | None:
        with points.armed(world.stack, point) as stop:
            # What runs already may come by; else there is somebody new.
            reached = stop.reached(SOON_S) or (driver.create(world, "dana", confirm=False) and stop.reached(LIMIT_S)) or None
            if reached is None:
                return None
            world.struck_at = time.time()
            run_id = reached.run_id if reached.run_id is not None else world.newest_run()
            return run_id if _strike_here(world, stop, reached, run_id, victim, committed) else None

    return Fault(f"kill {victim} {what}", strike, noticed=_noticed(point, victim, committed))


def _noticed(point: Point, victim: str, committed: bool) -> bool:
    """Before its claim a run has nothing that could be taken from it, after its end it misses nothing."""
    if point is points.CLAIM:
        return committed
    if point is points.OUTBOX or (point is points.FINAL and committed):
        return False
    return victim in OF_THE_RUN


def _strike_here(world: World, stop: points.Armed, reached: Reached, run_id: int, victim: str, committed: bool) -> bool:
    if committed:
        # He gets no answer: whatever is killed, he does nothing with a commit that took place.
        world.kill(reached.owner, signal.SIGSTOP)
        stop.commit(reached)
    struck = world.kill(reached.owner) if victim == "its process" else VICTIMS[victim](world, run_id)
    if victim != EVERYTHING:
        world.kill(reached.owner, signal.SIGCONT)
        if not committed and reached.owner is not None and not alive(reached.owner):
            stop.roll_back(reached)
    return struck


# ---------------------------------------------------------------- at a request to Proxmox
def _at_request(what: str, method: str, suffix: str, stage: str, victim: str) -> Fault:
    def strike(world: World) -> int | None:
        try:
            world.stack.control("hold", method=method, suffix=suffix, stage=stage)
            held = _held(world, SOON_S) or (driver.create(world, "egon", confirm=False) and _held(world, LIMIT_S)) or None
            run_id = world.run_of(held["vmid"]) if held and held["vmid"] else None
            if run_id is None:
                return None
            world.struck_at = time.time()
            return run_id if VICTIMS[victim](world, run_id) else None
        finally:
            with suppress(OSError):
                world.stack.control("let_go")

    return Fault(f"kill {victim} {what}", strike, noticed=victim in OF_THE_RUN)


def _held(world: World, limit_s: float) -> dict[str, object] | None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with suppress(OSError):
            if found := world.stack.control("held"):
                return dict(found)
        time.sleep(POLL_S)
    return None


# ---------------------------------------------------------------- the answer of a request
def _answer_lost(victim: str) -> Fault:
    """The web process dies between commit and answer; who asked repeats with his key and must get the same."""

    def strike(world: World) -> int | None:
        who, body, key = world.rng.choice(sorted(world.people)), {"name": world.new_name(), "template": "debian-12", "memory_mib": 1024}, driver.new_key(world)
        with points.armed(world.stack, points.ANSWER) as stop:
            asked = driver.Asking(world.people[who], "POST", "/api/servers/async", body, key)
            reached = stop.reached(LIMIT_S)
            if reached is None:
                asked.answer()
                return None
            world.struck_at = time.time()
            world.kill(reached.owner, signal.SIGSTOP)
            stop.commit(reached)
            main = world.pid("web")
            struck = world.kill(main) if victim == "web and its processes" else False
            struck = world.kill(reached.owner) or struck
        answer = asked.answer()
        driver.note(world, who, "create", answer, [str(body["name"])])
        _compare(world, key, answer.status, answer.json)
        return int(answer.json["run_id"]) if struck and answer.status == 202 else None

    return Fault(f"kill {victim} between commit and answer", strike)


def _compare(world: World, key: str, status: int, answer: dict[str, object]) -> None:
    stored = world.sql(f"select answer->>'run_id', answer->>'task_id' from idempotency_key where key = '{key}'")
    given = (str(answer.get("run_id")), str(answer.get("task_id")))
    if status != 202 or stored != [given]:
        world.complaints.append(f"the repeated request was answered {status} {given}, stored is {stored}")


_AT: tuple[tuple[str, Point, bool, tuple[str, ...]], ...] = (
    ("before the claim", points.CLAIM, False, ("its process", "worker", EVERYTHING)),
    ("after the claim", points.CLAIM, True, ("its process", "worker", EVERYTHING)),
    ("before the plan is stored", points.PLANNED, False, ("runner", "runner and keeper", "worker", EVERYTHING)),
    ("between plan and apply", points.PLANNED, True, ("runner", "runner and keeper", "worker", EVERYTHING)),
    ("during a state write", points.STATE, False, ("runner", "terraform's group", "worker", EVERYTHING)),
    ("after a state write, unanswered", points.STATE, True, ("runner", "terraform's group", EVERYTHING)),
    ("before the final commit", points.FINAL, False, ("runner", "worker", EVERYTHING)),
    ("between the final commit and the outbox", points.FINAL, True, ("runner", "worker", EVERYTHING)),
    ("between sending and forgetting", points.OUTBOX, False, ("its process",)),
)
_REQUESTS: tuple[tuple[str, str, str, str], ...] = (
    ("before a clone", "POST", "/clone", "before"),
    ("in a clone whose answer is not there", "POST", "/clone", "after"),
    ("between clone and configuration", "PUT", "/config", "before"),
    ("between configuration and start", "POST", "/status/start", "before"),
)
_OF_REQUESTS = ("runner", "terraform's group", "worker", EVERYTHING)

FAULTS: tuple[Fault, ...] = (
    *(_in_transaction(what, point, victim, committed) for what, point, committed, victims in _AT for victim in victims),
    *(_at_request(*where, victim) for where in _REQUESTS for victim in _OF_REQUESTS),
    _answer_lost("web process"),
    _answer_lost("web and its processes"),
)
