"""Foreign exceptions of the Proxmox API as ours: nothing above this package sees requests or proxmoxer."""

import re
from collections.abc import Iterator

import requests
from proxmoxer.core import ResourceException
from urllib3.exceptions import NewConnectionError

from app.errors import (
    ProxmoxCertificate,
    ProxmoxError,
    ProxmoxForbidden,
    ProxmoxNotFound,
    ProxmoxRefused,
    ProxmoxUnauthorized,
    ProxmoxUnreachable,
)

_PERMISSION = re.compile(r"Permission check failed \(([^,]*), ([^)]+)\)")
# OpenSSL's words → which fault of the certificate it is.
_CERTIFICATE = (
    ("fingerprint", "fingerprint"),
    ("did not match", "fingerprint"),
    ("has expired", "expired"),
    ("not yet valid", "not_yet_valid"),
    ("hostname mismatch", "wrong_host"),
    ("ip address mismatch", "wrong_host"),
    ("doesn't match", "wrong_host"),
    ("self-signed", "unknown_issuer"),
    ("self signed", "unknown_issuer"),
    ("unable to get local issuer", "unknown_issuer"),
    ("unable to get issuer", "unknown_issuer"),
    ("unable to verify", "unknown_issuer"),
)
_NETWORK = (
    ("refused", "refused"),
    ("name or service not known", "unknown_host"),
    ("name resolution", "unknown_host"),
    ("nodename nor servname", "unknown_host"),
    ("no address associated", "unknown_host"),
    ("timed out", "timeout"),
    ("timeout", "timeout"),
    ("no route", "no_route"),
    ("unreachable", "no_route"),
    ("reset", "reset"),
    ("closed connection", "reset"),
    ("aborted", "reset"),
)


class ProxmoxNodeOffline(ProxmoxUnreachable):
    """The cluster answers, but not the node the call is for (Proxmox's 595 to 599)."""

    code = "proxmox_node_offline"


def translate(exc: Exception, doing: str) -> ProxmoxError:
    """Return our error for one of requests' or proxmoxer's; `doing` names the action for the log."""
    if isinstance(exc, ResourceException):
        return _answer(exc, doing)
    if isinstance(exc, requests.exceptions.SSLError):
        return _tls(exc, doing)
    if isinstance(exc, requests.exceptions.Timeout):
        return ProxmoxUnreachable(doing, reason="timeout")
    if isinstance(exc, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | UnicodeError):
        return ProxmoxUnreachable(doing, reason="unknown_host")
    return ProxmoxUnreachable(doing, reason=_first(_NETWORK, str(exc)) or "other")


def certainly_not_sent(error: BaseException) -> bool:
    """True when the request cannot have reached Proxmox: no connection was made at all."""
    for exc in _chain(error):
        if isinstance(exc, requests.exceptions.ConnectTimeout | NewConnectionError | requests.exceptions.SSLError):
            return True
    return False


def refused(error: ProxmoxError) -> bool:
    """True when Proxmox itself answered no: nothing was begun."""
    return not isinstance(error, ProxmoxUnreachable) or certainly_not_sent(error)


def _answer(exc: ResourceException, doing: str) -> ProxmoxError:
    status, reason = int(exc.status_code), str(exc.content or exc.status_message or "").strip()
    if isinstance(exc.errors, dict) and exc.errors:
        reason += " " + "; ".join(f"{k}: {str(v).strip()}" for k, v in exc.errors.items() if isinstance(v, str))
    reason = reason.strip()[:400]
    if status == 401:
        return ProxmoxUnauthorized(doing, reason=reason)
    if status == 403:
        found = _PERMISSION.search(reason)
        path, privilege = found.groups() if found else ("", "")
        return ProxmoxForbidden(doing, privilege=privilege, path=path, reason=reason)
    if 595 <= status <= 599:
        return ProxmoxNodeOffline(doing, reason=reason or "no route")
    if status in (502, 503, 504):  # a proxy before it: the call may have been carried out
        return ProxmoxUnreachable(doing, reason="gateway")
    if status == 404 or (status == 500 and any(w in reason for w in ("does not exist", "no such", "hostname lookup"))):
        return ProxmoxNotFound(doing, reason=reason)
    return ProxmoxRefused(doing, reason=reason or f"HTTP {status}", status=status)


def _tls(exc: Exception, doing: str) -> ProxmoxError:
    text = str(exc).lower()
    problem = _first(_CERTIFICATE, text)
    if problem is None and ("wrong_version" in text or "wrong version" in text or "unexpected_eof" in text):
        return ProxmoxUnreachable(doing, reason="not_tls")
    return ProxmoxCertificate(doing, problem=problem or "other", reason=_reason(exc))


def _reason(exc: Exception) -> str:
    found = re.search(r"certificate verify failed: ([^(']+)", str(exc))
    return (found.group(1).strip() if found else type(exc).__name__)[:200]


def _first(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((code for words, code in table if words in text.lower()), None)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Every exception inside this one: causes, contexts, and what requests and urllib3 carry as arguments."""
    seen: set[int] = set()
    todo = [exc]
    while todo:
        item = todo.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        reason = getattr(item, "reason", None)
        todo += [item.__cause__, item.__context__, *(a for a in item.args if isinstance(a, BaseException))]
        todo += [reason] if isinstance(reason, BaseException) else []


__all__ = ["ProxmoxError", "ProxmoxNodeOffline", "certainly_not_sent", "refused", "translate"]
