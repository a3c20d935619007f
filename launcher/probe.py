"""Looks whether a server answers, without ever waiting for it."""

import select
import socket


class PortProbe:
    """True once somebody accepts connections."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    def answers(self) -> bool:
        """Try now."""
        try:
            socket.create_connection(self.address, timeout=0.2).close()
        except OSError:
            return False
        return True


class HttpProbe:
    """True once the page answers 200. One request is left open until then: the master accepts before a worker reads."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self.address, self.path = (host, port), path
        self._open: socket.socket | None = None

    def answers(self) -> bool:
        """Look now."""
        try:
            if self._open is None:
                self._open = socket.create_connection(self.address, timeout=0.2)
                self._open.sendall(f"GET {self.path} HTTP/1.1\r\nHost: {self.address[0]}\r\nConnection: close\r\n\r\n".encode())
            if not select.select([self._open], [], [], 0)[0]:
                return False
            answer = self._open.recv(64)
        except OSError:
            answer = b""
        if self._open is not None:
            self._open.close()
            self._open = None
        return b" 200 " in answer.split(b"\r\n")[0]
