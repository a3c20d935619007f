"""Whom we trust to be the cluster: the system's roots, a private CA, or one pinned certificate."""

import hashlib
import os
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter

from app.config import get_settings
from app.errors import ProxmoxCertificate, ProxmoxUnreachable

CONNECT_TIMEOUT_S = 3


class PinnedCertificate(HTTPAdapter):
    """Accepts exactly the certificate with this SHA-256, whoever signed it and whatever host it names."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = plain(fingerprint)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self.fingerprint, assert_hostname=False, **kwargs)


def plain(fingerprint: str) -> str:
    """Return a fingerprint as 64 lower-case hex digits."""
    return fingerprint.replace(":", "").replace(" ", "").lower()


def with_colons(fingerprint: str) -> str:
    """Return a fingerprint as Proxmox shows it: AA:BB:…"""
    text = plain(fingerprint).upper()
    return ":".join(text[i : i + 2] for i in range(0, len(text), 2))


def ca_path(pem: str) -> Path:
    """Return a private file with these certificates (requests and Terraform take paths), written once."""
    folder = Path(get_settings().data_dir) / "ca"
    path = folder / f"{hashlib.sha256(pem.encode()).hexdigest()}.pem"
    if path.exists():
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temp = tempfile.mkstemp(dir=folder, suffix=".tmp")  # mode 0600
    with os.fdopen(handle, "w") as out:
        out.write(pem)
    os.replace(temp, path)
    return path


def verification(ca_pem: str | None, fingerprint: str | None) -> bool | str:
    """Return what `requests` calls verify. With a pinned certificate the adapter checks instead."""
    if fingerprint:
        return False
    if ca_pem:
        return str(ca_path(ca_pem))
    # The same roots as Terraform's provider uses, not certifi's: a company's CA is usually installed there.
    return ssl.get_default_verify_paths().cafile or True


def pinned_pem(url: str, fingerprint: str) -> str:
    """Fetch the certificate with this fingerprint, so that Terraform can trust it too.

    Raises ProxmoxCertificate when the cluster shows another one, ProxmoxUnreachable when there is none.
    """
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 8006), CONNECT_TIMEOUT_S) as plain_,
            context.wrap_socket(plain_, server_hostname=parts.hostname) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
    except ssl.SSLError as exc:
        raise ProxmoxUnreachable("reading the certificate", reason="not_tls") from exc
    except OSError as exc:
        raise ProxmoxUnreachable("reading the certificate", reason="refused") from exc
    shown = hashlib.sha256(der).hexdigest()
    if shown != plain(fingerprint):
        raise ProxmoxCertificate("pinning", problem="fingerprint", shown=with_colons(shown), reason="")
    return ssl.DER_cert_to_PEM_cert(der)
