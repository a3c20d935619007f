"""`python run.py`: everything that is not configured elsewhere, started in parallel, watched, and stopped in order."""

import contextlib
import hashlib
import os
import resource
import signal
import subprocess
from functools import partial

from app.config import ROOT, Settings, check_complete, check_secrets, load_settings
from embedded.postgres import Postgres
from embedded.process import in_child, tail, wait_gone
from embedded.valkey import Valkey
from launcher import logs, parts
from launcher.instance import (
    Instance,
    Pids,
    check_ports,
    locked,
    make_directories,
    read_json,
    refuse_unfinished,
    write_json,
)
from launcher.parts import Command, environment
from launcher.probe import HttpProbe, PortProbe
from launcher.screen import complain, say, url, welcome
from launcher.supervisor import Child, NotStarted, Stopped, Supervisor

STOP_ORDER = (
    ("web", "beat", "flower", "prepare", "worker", "worker_actions"),
    ("simulator",),
    ("valkey",),
    ("postgres",),
)
UP_S = 90
PREPARE_S = 300
LEFTOVER_S = 12
OPEN_FILES = 65_536
PREPARED_FILE = "prepared.json"


def start() -> int:
    """Run the instance until it is stopped; the exit code."""
    os.umask(0o077)
    settings = load_settings()
    if settings.app_env == "production":
        check_secrets(settings)
    make_directories(settings.data_dir)
    with locked(settings.data_dir):
        refuse_unfinished(settings.data_dir)
        pids = Pids(settings.data_dir)
        _end_leftovers(pids)
        check_ports(settings)
        instance = Instance(settings.data_dir)
        instance.complete(settings)
        settings = load_settings()
        check_complete(settings)
        _allow_many_files()
        return Start(settings, instance, Supervisor(pids)).run()


class Start:
    """One start, from the first process to the screen, and the end."""

    def __init__(self, settings: Settings, instance: Instance, supervisor: Supervisor) -> None:
        self.settings, self.instance, self.supervisor = settings, instance, supervisor
        self.data = settings.data_dir

    def run(self) -> int:
        """Start, watch, stop; the exit code."""
        code = 0
        flower = url(self.settings.flower_bind, self.settings.flower_port)
        self.supervisor.pids.begin({"web": url(self.settings.bind, self.settings.port), "flower": flower})
        try:
            self._bring_up()
            welcome(self.settings)
            self.supervisor.watch()
        except Stopped:
            say("stopping (Ctrl-C again: at once)")
        except NotStarted as exc:
            complain(str(exc))
            code = 1
        except BaseException:
            self.supervisor.kill()
            raise
        clean = self.supervisor.stop(STOP_ORDER)
        say("stopped" if clean else "stopped; what did not end by itself was killed")
        return code

    def _bring_up(self) -> None:
        # The usual second start: this database was prepared for this very configuration, nothing has to wait for it.
        known = self._prepared()
        self._servers()
        self._simulator(wait=not known)
        if not known:
            self._prepare()
        parts_ = [parts.web, parts.worker, parts.worker_actions, parts.beat, parts.flower]
        offsets = {name: logs.size(logs.log_path(self.data, name)) for name in ("worker", "worker_actions")}
        children = {child.name: child for child in [self._part(make(self.settings)) for make in parts_]}
        page = HttpProbe(reachable(self.settings.bind), self.settings.port, "/healthz")
        self.supervisor.wait_until(page.answers, f"the web server ({children['web'].log})", UP_S)
        say("web server")
        for name, offset in offsets.items():
            log = children[name].log
            self.supervisor.wait_until(partial(logs.contains, log, offset, b"ready."), f"{name} ({log})", UP_S)
        say("workers")
        flower = PortProbe(reachable(self.settings.flower_bind), self.settings.flower_port)
        self.supervisor.wait_until(flower.answers, "Flower", UP_S)
        say("beat and Flower")

    def _servers(self) -> None:
        """PostgreSQL and Valkey, unless configured elsewhere."""
        servers: list[Postgres | Valkey] = []
        if not self.settings.configured_redis:
            log = logs.log_path(self.data, "valkey")
            valkey = Valkey(self.data / "valkey", self.instance.port("valkey_port"), self.instance.text("valkey_secret"), log)
            self._embedded("valkey", valkey, signal.SIGTERM)
            servers.append(valkey)
        if not self.settings.configured_database:
            log = logs.log_path(self.data, "postgres")
            data = self.data / "postgres" / "data"
            if not data.exists():
                say("making the database cluster")
            postgres = Postgres(data, self.instance.port("postgres_port"), self.instance.text("postgres_secret"), log)
            self._embedded("postgres", postgres, signal.SIGINT)
            servers.append(postgres)
        for server in servers:
            self.supervisor.wait_until(server.ready, type(server).__name__, UP_S)
        if servers:
            say(" and ".join(sorted(type(s).__name__ for s in servers)).replace("Postgres", "PostgreSQL"))

    def _embedded(self, name: str, server: Postgres | Valkey, stop_signal: signal.Signals) -> None:
        logs.open_log(server.log).close()
        self.supervisor.start(Child(name, server.start, server.log, stop_signal))

    def _simulator(self, *, wait: bool) -> None:
        if not self.settings.simulator_wanted:
            return
        control = self.instance.port("simulator_control_port") if self.settings.sim_control else None
        command = parts.simulator(self.settings, self.instance.port("simulator_port"), control)
        offset = logs.size(logs.log_path(self.data, "simulator"))
        child = self._part(command)
        if wait:
            # The first rows name the cluster: it must have said how it is reached.
            self.supervisor.wait_until(partial(logs.contains, child.log, offset, b"ready "), f"the simulated cluster ({child.log})", UP_S)
            say("simulated cluster")

    def _part(self, command: Command) -> Child:
        log = logs.log_path(self.data, command.name)
        env = environment(self.settings, command)

        def spawn() -> "subprocess.Popen[bytes]":
            with logs.open_log(log) as output:
                return subprocess.Popen(
                    command.argv,
                    cwd=ROOT,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=in_child(signal.SIGTERM, behind=command.behind),
                )

        return self.supervisor.start(Child(command.name, spawn, log, once=command.name == "prepare"))

    def _prepare(self) -> None:
        child = self._part(parts.prepare())
        self.supervisor.wait_until(lambda: not child.running, "preparing the database", PREPARE_S)
        if child.exit_code:
            raise NotStarted(f"the database could not be prepared; the end of {child.log}:\n{tail(child.log, 3000)}")
        write_json(self.data / PREPARED_FILE, self._facts())
        say("database and Terraform prepared")

    def _facts(self) -> dict[str, str]:
        """Everything that the preparation depends on."""
        settings = self.settings
        digest = hashlib.sha256()
        for path in sorted((ROOT / "app" / "migrations" / "versions").glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
        cluster: list[object] = [settings.proxmox_endpoint, settings.proxmox_token_id, str(settings.proxmox_ca_file)]
        if settings.proxmox_token_secret:
            cluster.append(settings.proxmox_token_secret.get_secret_value())
        if settings.simulator_wanted:
            # A simulator without its state makes a new token and a new certificate.
            files = [settings.simulator_dir / name for name in ("connection.json", "token")]
            cluster += [self.instance.port("simulator_port"), settings.sim_control, *(f.read_bytes() for f in files if f.exists())]
        return {"migrations": digest.hexdigest(), "cluster": hashlib.sha256(repr(cluster).encode()).hexdigest()}

    def _prepared(self) -> bool:
        """True when the embedded database was prepared for the same facts. Of another database only asking it tells."""
        data = self.data / "postgres" / "data"
        embedded = not self.settings.configured_database and data.is_dir()
        return embedded and read_json(self.data / PREPARED_FILE) == self._facts()


def _end_leftovers(pids: Pids) -> None:
    """Parts of an instance whose run.py was killed end by themselves; wait for them, then insist."""
    alive = [(name, *pids.entries[name]) for name in pids.entries if pids.alive(name)]
    if alive:
        say(f"waiting for the last instance to end: {', '.join(name for name, *_ in alive)}")
    for _name, pid, began in alive:
        if not wait_gone(pid, began, LEFTOVER_S):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            wait_gone(pid, began, 5)


def _allow_many_files() -> None:
    """Every open browser is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def reachable(bind: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bind, bind)  # noqa: S104 - compared, not bound

