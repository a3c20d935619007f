"""The parts of an instance as commands: what is executed, with which environment."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from app.config import ROOT, Settings
from app.domain.tasks import Queue

CELERY_PART = (sys.executable, "-m", "launcher.celery_part")
# The message side only: beat and Flower do not need the application, which would cost half a second and 60 MB.
LIGHT_APP = "app.adapters.broker"
# A process that waits for a run costs 15 MB; more are forked in 30 ms each when there are more runs.
WAITING = 2


@dataclass(frozen=True)
class Command:
    """One process to execute: `extra` is added to the environment, so that nothing secret stands in `argv`.

    One that is `behind` ticks every few seconds, and does what takes Proxmox seconds anyway: whoever waits for an answer goes first.
    """

    name: str
    argv: tuple[str, ...]
    extra: dict[str, str] = field(default_factory=dict)
    behind: bool = False


def web(_settings: Settings) -> Command:
    """The web server; everything else about it stands in app/gunicorn_conf.py."""
    return Command("web", (sys.executable, "-m", "gunicorn", "-c", "app/gunicorn_conf.py", "app.wsgi:app"))


def worker(settings: Settings) -> Command:
    """The worker whose tasks fork the runs' own processes."""
    name = ("-Q", "terraform", "-n", "terraform@%h", "-c", str(settings.terraform_workers), "--waiting", str(WAITING))
    return Command("worker", (*CELERY_PART, "worker", *name))


def worker_actions(settings: Settings) -> Command:
    """The worker for short work: never behind a long apply."""
    name = ("-Q", "proxmox,default", "-n", "actions@%h", "--pool", "threads", "-c", str(settings.action_threads))
    return Command("worker_actions", (*CELERY_PART, "worker", *name), behind=True)


def worker_all(settings: Settings, queues: str | None, concurrency: int | None = None, *, clock: bool = False) -> Command:
    """One worker alone: all queues unless told; threads where no run is waited for."""
    short = queues is not None and Queue.TERRAFORM not in queues.split(",")
    count = concurrency or (settings.action_threads if short else settings.terraform_workers)
    # Workers of one machine must have different names.
    chosen = ("-Q", queues, "-n", f"{queues.replace(',', '-')}@%h") if queues else ()
    pool = ("--pool", "threads") if short else ()
    bells = ("-B", "-s", str(schedule(settings))) if clock else ()
    return Command("worker", (*CELERY_PART, "worker", *chosen, *pool, "-c", str(count), *bells))


def beat(settings: Settings) -> Command:
    """The clock: it only rings."""
    return Command("beat", (*CELERY_PART, "beat", "-s", str(schedule(settings))), behind=True)


def schedule(settings: Settings) -> Path:
    """Where beat notes what it has rung."""
    return settings.data_dir / "beat" / "schedule"


def flower(settings: Settings) -> Command:
    """Flower, always behind a password."""
    place = (f"--address={settings.flower_bind}", f"--port={settings.flower_port}", "--conf=/dev/null")
    auth = f"{settings.flower_user}:{settings.flower_password.get_secret_value()}"
    return Command("flower", (*CELERY_PART, "flower", "--", *place, "--logging=warning"), {"FLOWER_BASIC_AUTH": auth}, behind=True)


def simulator(settings: Settings, port: int, control_port: int | None) -> Command:
    """The simulated cluster."""
    argv = [sys.executable, "-m", "simulator", "--dir", str(settings.simulator_dir), "--port", str(port)]
    argv += ["--time-scale", str(settings.sim_time_scale)]
    if control_port is not None:
        argv += ["--control-port", str(control_port)]
    if settings.sim_clone_seconds is not None:
        argv += ["--clone-seconds", str(settings.sim_clone_seconds)]
    return Command("simulator", tuple(argv))


def prepare() -> Command:
    """Migrations, the first rows, Terraform's skeleton: one process that ends."""
    return Command("prepare", (sys.executable, str(ROOT / "run.py"), "prepare"))


def environment(settings: Settings, command: Command) -> dict[str, str]:
    """The environment of a part: ours, with places that can be written."""
    env = dict(os.environ) | command.extra
    home = env.get("HOME", "")
    if not home or not os.access(home, os.W_OK | os.X_OK):
        env["HOME"] = str(settings.data_dir / "home")
    env["TMPDIR"] = str(settings.data_dir / "tmp")
    env["DATA_DIR"] = str(settings.data_dir)
    env["PYTHONUNBUFFERED"] = "1"
    # Parts run in the repository: what was found from where the person stood is named.
    beside = Path.cwd() / ".env"
    if "ENV_FILE" not in env and beside.is_file():
        env["ENV_FILE"] = str(beside)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    return env


def execute(settings: Settings, command: Command) -> None:
    """Become that part. Does not return."""
    env = environment(settings, command)
    os.chdir(ROOT)
    os.execve(command.argv[0], list(command.argv), env)
