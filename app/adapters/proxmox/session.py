"""The HTTP session under proxmoxer: our timeouts, our trust, our credentials, and few chances to send twice."""

from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, ConnectTimeout, SSLError  # noqa: A004

from app.adapters.proxmox.trust import PinnedCertificate, verification
from app.adapters.proxmox.types import Access
from app.errors import ProxmoxUnauthorized

CONNECT_S, READ_S = 3.0, 10.0


class ProxmoxSession(requests.Session):
    """Belongs to one client, one thread and one process; a password becomes a ticket at the first call."""

    def __init__(self, access: Access, read_s: float = READ_S) -> None:
        super().__init__()
        # No .netrc (it would replace our credentials), no REQUESTS_CA_BUNDLE (it would replace our CA), no proxy.
        self.trust_env = False
        self.access = access
        self._timeout = (CONNECT_S, read_s)
        self.headers["Accept"] = "application/json"
        self.verify = verification(access.ca_pem, access.fingerprint)
        if access.fingerprint:
            self.mount("https://", PinnedCertificate(access.fingerprint))
        if access.uses_token:
            self.headers["Authorization"] = f"PVEAPIToken={access.auth_id}={access.secret}"
        self._signed_in = access.uses_token
        self.clock_s: float | None = None

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send; a GET once more when a kept connection turned out to be closed."""
        response = self._send_once_or_twice(method, url, *args, **kwargs)
        try:
            self.clock_s = parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, TypeError, ValueError):
            self.clock_s = None
        return response

    def _send_once_or_twice(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", self._timeout)
        kwargs.setdefault("allow_redirects", False)
        if not self._signed_in:
            self._sign_in()
        if method != "GET":
            # pveproxy closes idle connections after 5 s: a call on one that just died may or may not have arrived.
            self.close()
            return super().request(method, url, *args, **kwargs)
        try:
            return super().request(method, url, *args, **kwargs)
        except (ConnectTimeout, SSLError):
            raise
        except (ConnectionError, ChunkedEncodingError):
            self.close()
            return super().request(method, url, *args, **kwargs)

    def _sign_in(self) -> None:
        response = super().request(
            "POST",
            self.access.url.rstrip("/") + "/api2/json/access/ticket",
            data={"username": self.access.auth_id, "password": self.access.secret},
            timeout=self._timeout,
            allow_redirects=False,
        )
        try:
            data = response.json()["data"] if response.status_code == 200 else None
        except (ValueError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict) or data.get("NeedTFA") or "ticket" not in data:
            second_factor = isinstance(data, dict) and bool(data.get("NeedTFA"))
            raise ProxmoxUnauthorized("signing in", reason="second_factor" if second_factor else "password")
        self.cookies.set("PVEAuthCookie", str(data["ticket"]))
        self.headers["CSRFPreventionToken"] = str(data["CSRFPreventionToken"])
        self._signed_in = True
