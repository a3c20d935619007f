"""A RabbitMQ of the tests' own: Debian's server as a plain process on loopback, its data in a temporary folder.

    with rabbitmq() as broker:
        broker.url            # amqp://guest:guest@127.0.0.1:…//
        broker.kill(); broker.start()
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
START_S = 90
MISSING = "RabbitMQ is not there: `make test-rabbitmq` installs Debian's rabbitmq-server when it may"


def there() -> bool:
    """True when Debian's server is installed."""
    return Path(SERVER).exists()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@dataclass
class RabbitMQ:
    """One node; what it was told stays over a kill."""

    folder: Path
    port: int
    dist_port: int
    names_port: int
    process: "subprocess.Popen[bytes] | None" = None
    names: "subprocess.Popen[bytes] | None" = None  # Erlang's name server

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", "RABBITMQ_NODENAME": f"tpm{self.port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_DIST_PORT": str(self.dist_port), "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"), "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self.names_port), "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip

    def start(self) -> None:
        """Start it, and return when it takes messages."""
        (self.folder / "plugins").write_text("[].\n")
        if self.names is None:
            self.names = subprocess.Popen(["epmd", "-port", str(self.names_port), "-address", "127.0.0.1"], env=self.environment, cwd=self.folder, start_new_session=True)
        (self.folder / "pid").unlink(missing_ok=True)  # of one that was killed
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen([SERVER], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.control("wait", str(self.folder / "pid"))

    def control(self, *args: str) -> str:
        """Ask the node by its own command line; raises what it says."""
        done = subprocess.run([CONTROL, "-t", str(START_S), *args], env=self.environment, capture_output=True, text=True, timeout=START_S + 10, check=False)
        assert done.returncode == 0, f"{args}: {done.stdout} {done.stderr} {(self.folder / 'out').read_text()[-2000:]}"
        return done.stdout

    def kill(self) -> None:
        """As if the machine lost its power."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        """End node and its name server."""
        self.kill()
        if self.names is not None:
            self.names.kill()
            self.names.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """A node for as long as this lasts."""
    made = RabbitMQ(Path(tempfile.mkdtemp(prefix="tpm-rabbit-")), *free_ports(3))
    try:
        made.start()
        yield made
    finally:
        made.close()
