"""What a request for a cluster may hold."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from cryptography import x509
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from app.schemas.networks import Empty, Name, none_if_empty
from app.schemas.servers import Number, Strict

API_PORT = 8006
VMID_MIN, VMID_MAX = 100, 999_999_999
_AUTH_ID = re.compile(r"^[^\s@!:/=]{1,60}@[A-Za-z][\w.\-]{0,31}(![A-Za-z][\w.\-]{0,63})?$")


def _endpoint(value: str) -> str:
    text = value.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme == "http":
        raise PydanticCustomError("endpoint_not_https", "endpoint_not_https")
    if parts.scheme != "https" or not host or re.search(r"[\s<>\"'\\^`{|}]", text) or parts.username or parts.query:
        raise PydanticCustomError("endpoint_malformed", "endpoint_malformed", {"endpoint": text[:80]})
    if parts.path.rstrip("/") not in ("", "/api2", "/api2/json"):
        raise PydanticCustomError("endpoint_malformed", "endpoint_malformed", {"endpoint": text[:80]})
    return f"https://{f'[{host}]' if ':' in host else host}:{port or API_PORT}"


def _auth_id(value: str) -> str:
    value = value.strip()
    if not _AUTH_ID.match(value):
        raise PydanticCustomError("auth_id_malformed", "auth_id_malformed", {"auth_id": value[:60]})
    return value


def _secret(value: Any) -> Any:
    # People paste "user@realm!name=uuid" as Proxmox shows it.
    return value.strip().rpartition("=")[2] if isinstance(value, str) and re.match(r"^\S+@\S+!\S+=", value) else value


def _pem(value: str) -> str:
    text = value.strip().replace("\r\n", "\n") + "\n"
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        found = []
    if not found:
        raise PydanticCustomError("bad_ca", "bad_ca")
    return text


def _fingerprint(value: str) -> str:
    text = re.sub(r"[\s:]", "", value).upper()
    if not re.fullmatch(r"[0-9A-F]{64}", text):
        raise PydanticCustomError("bad_fingerprint", "bad_fingerprint")
    return ":".join(text[i : i + 2] for i in range(0, 64, 2))


Endpoint = Annotated[str, Field(max_length=255), AfterValidator(_endpoint)]
Pem = Annotated[str, Field(max_length=65_536), AfterValidator(_pem)]
Fingerprint = Annotated[str, Field(max_length=120), AfterValidator(_fingerprint)]
Vmid = Annotated[int, Number, Field(ge=VMID_MIN, le=VMID_MAX)]


class ClusterInput(Strict):
    """`POST /api/clusters`, its form, and "Test connection". An empty `secret` keeps the stored one."""

    name: Name
    endpoint: Endpoint
    auth_id: Annotated[str, Field(max_length=128), AfterValidator(_auth_id)]
    secret: Annotated[
        SecretStr | None, Field(max_length=1024), BeforeValidator(_secret), BeforeValidator(none_if_empty)
    ] = None
    ca_pem: Annotated[Pem | None, Empty] = None
    fingerprint: Annotated[Fingerprint | None, Empty] = None
    vmid_low: Vmid = 200
    vmid_high: Vmid = 8999
