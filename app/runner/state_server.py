"""Terraform's http backend on loopback, for one run's own Terraform: every POST is a state version under the fence.

It is given no lock address, since fence and lease are the lock; one that is given it all the same can lock and unlock.

A database outage is waited out inside the request: Terraform's own retries would only delay its end.
"""

import base64
import hmac
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from flask import Flask

from app.adapters import figures
from app.adapters.crypto import Undecryptable
from app.errors import Fenced
from app.log import get_logger
from app.runner.patience import LOST, patient
from app.runner.state_lock import Locked, LockMalformed, StateLock
from app.services import run_execution, states
from app.services.uow import UnitOfWork

log = get_logger(__name__)
CHUNK_BYTES = 1 << 16


class StateServer:
    """Serves one workspace's state to one run's Terraform; `newest` is the last state it took or gave."""

    def __init__(self, app: Flask, run_id: int, workspace_id: int, fence: int, on_fenced: Callable[[], None]) -> None:
        self.app, self.run_id, self.workspace_id, self.fence, self.on_fenced = app, run_id, workspace_id, fence, on_fenced
        self.token = secrets.token_urlsafe(24)
        self._wanted = "Basic " + base64.b64encode(f"run:{self.token}".encode()).decode()
        self._busy = threading.Lock()
        self.lock = StateLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        # The default poll of half a second would hold the slot and the lock of a finished run for as long.
        threading.Thread(target=self._http.serve_forever, args=(0.02,), name="state", daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What Terraform needs to find this server. No lock address: fence and lease are the lock."""
        return {
            "TF_HTTP_ADDRESS": f"http://127.0.0.1:{self._http.server_address[1]}/state",
            "TF_HTTP_USERNAME": "run",
            "TF_HTTP_PASSWORD": self.token,
            "TF_HTTP_RETRY_MAX": "0",
        }

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def read(self) -> states.Current:
        """Return the newest state."""
        return patient(lambda uow: states.latest(uow.session, self.workspace_id))

    def save(self, body: bytes) -> None:
        """Store a state under the fence. Raises Fenced, StateRefused, StateMalformed."""

        def work(uow: UnitOfWork) -> None:
            run_execution.guard(uow, self.run_id, self.fence)
            states.save(uow, self.workspace_id, self.run_id, self.fence, body)

        patient(work)

    def knows(self, authorization: str) -> bool:
        """True for the token of this very run."""
        return hmac.compare_digest(authorization.encode(), self._wanted.encode())

    def answer(self, method: str, lock_id: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of one request; `lock_id` is the lock that Terraform says it holds."""
        try:
            with self._busy, self.app.app_context():
                return self._do(method, lock_id, body)
        except Locked as exc:
            return 423, exc.holder
        except Fenced:
            # A 409 alone does not stop Terraform: it goes on creating servers.
            self.on_fenced()
            figures.count(figures.STATE_REFUSED, "fenced")
            return 409, b""
        except states.StateRefused as exc:
            figures.count(figures.STATE_REFUSED, "does_not_follow")
            log.error("state_refused", run_id=self.run_id, reason=str(exc))
            return 409, b""
        except (states.StateMalformed, LockMalformed) as exc:
            if isinstance(exc, states.StateMalformed):
                figures.count(figures.STATE_REFUSED, "malformed")
            return 400, b""
        except Undecryptable:
            log.error("state_undecryptable", run_id=self.run_id)
            return 500, b""
        except LOST:
            return 503, b""

    def _do(self, method: str, lock_id: str, body: bytes) -> tuple[int, bytes]:
        if method == "LOCK":
            patient(lambda uow: run_execution.guard(uow, self.run_id, self.fence))
            self.lock.lock(body)
        elif method == "UNLOCK":
            self.lock.unlock(body)
        elif method == "POST":
            self.lock.pass_by(lock_id)
            self.save(body)
        else:
            current = self.read()
            # "Not found" means "empty, create everything": only true for a workspace that never had a state.
            return (200, current.body) if current.body else (500 if current.ever else 404, b"")
        return 200, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60
            # Headers and body go out in two small segments: without this each answer waits 40 ms for an ACK.
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                length, body = self._length(), b""
                if length is None:
                    status = 400
                elif not server.knows(self.headers.get("Authorization", "")):
                    status = 401
                elif length > states.MAX_BYTES:
                    status = 413
                else:
                    lock_id = parse_qs(urlsplit(self.path).query).get("ID", [""])[0]
                    status, body = server.answer(self.command, lock_id, self.rfile.read(length))
                    length = 0
                # A connection closed over unread bytes is reset, and the answer lost with it.
                self._skip(length or 0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _length(self) -> int | None:
                text = self.headers.get("Content-Length") or "0"
                self.close_connection = self.close_connection or not text.isdecimal()
                return int(text) if text.isdecimal() else None

            def _skip(self, length: int) -> None:
                while length > 0 and (data := self.rfile.read(min(length, CHUNK_BYTES))):
                    length -= len(data)

            do_GET = do_POST = do_LOCK = do_UNLOCK = _serve  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Nothing: the runner logs what matters."""

        return Handler
