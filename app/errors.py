"""Every expected failure, as one tree with stable codes; texts live in app/messages.py."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

Args = dict[str, Any]


@dataclass(frozen=True)
class FieldError:
    """One fault of one input field: `field` as the caller spelled it (`disks.0.size_gib`), code and arguments."""

    field: str
    code: str
    args: Args = dataclasses.field(default_factory=dict)


class AppError(Exception):
    """An expected failure: `code` names its text, `status` its HTTP answer, `retryable` whether the same may work later."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", **args: Any) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.args_: Args = args


class Invalid(AppError):
    """The input has faults; all of them together."""

    code, status = "invalid_input", 422

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(", ".join(f"{e.field}: {e.code}" for e in errors))
        self.errors = errors


class NotFound(AppError):
    code, status = "not_found", 404


class Forbidden(AppError):
    """The caller lacks `permission`; its name is told."""

    code, status = "forbidden", 403


class Unauthenticated(AppError):
    code, status = "unauthenticated", 401


class BadRequest(AppError):
    """The body cannot be read as what it says it is."""

    code, status = "bad_request", 400


class Conflict(AppError):
    """The object is in another state than the request needs."""

    code, status = "conflict", 409


class RunStateConflict(Conflict):
    """The run is not in a state in which this can be done; `state` says which it is in."""

    code = "run_state_conflict"


class ServerBusy(Conflict):
    """Another run or action works on the server."""

    code = "server_busy"


class ScheduleBusy(Conflict):
    """Scheduled work still runs and may not run twice at a time."""

    code = "schedule_busy"


class IdempotencyMismatch(AppError):
    """The key was used before with another body."""

    code, status = "idempotency_mismatch", 422


class TooManyRequests(AppError):
    code, status, retryable = "too_many_requests", 429, True


class DatabaseUnavailable(AppError):
    code, status, retryable = "database_unavailable", 503, True


class SessionStoreUnavailable(AppError):
    code, status, retryable = "session_store_unavailable", 503, True


class Fenced(AppError):
    """Somebody else holds the run now: this process must not write for it any more."""

    code, status = "fenced", 409


class RunFailed(AppError):
    """A run cannot go on; `code_` is a code of the failure catalogue."""

    code = "run_failed"

    def __init__(self, code_: str, detail: str = "", **args: Any) -> None:
        super().__init__(detail or code_, **args)
        self.code_ = code_


class ProxmoxError(AppError):
    """Proxmox could not be asked or refused; the subclasses say how."""

    code, status = "proxmox_error", 502


class ProxmoxUnreachable(ProxmoxError):
    code, retryable = "proxmox_unreachable", True


class ProxmoxCertificate(ProxmoxError):
    code = "proxmox_certificate"


class ProxmoxUnauthorized(ProxmoxError):
    code = "proxmox_unauthorized"


class ProxmoxForbidden(ProxmoxError):
    """Proxmox refused for want of a privilege; `privilege` and `path` name it."""

    code = "proxmox_forbidden"


class ProxmoxNotFound(ProxmoxError):
    code = "proxmox_not_found"


class ProxmoxRefused(ProxmoxError):
    """Any other answer that is not success; `reason` is Proxmox's own text."""

    code = "proxmox_refused"


class TerraformMissing(AppError):
    code = "terraform_missing"


class ProviderMissing(AppError):
    code = "provider_missing"
