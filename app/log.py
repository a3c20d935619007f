"""Structured logs: JSON lines with a constant event name and fields beside it; secrets never."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import structlog

_SECRET = re.compile(r"(password|secret|token|authorization|cookie|api_key)", re.IGNORECASE)
SHORTEST_SECRET = len("tpm_") + 8
_SECRET_URL = re.compile(r"(://[^:@/\s]*:)[^@/\s]+@")
_SECRET_TEXT = re.compile(r"(PVEAPIToken=[^=\s]+=|Bearer\s+|tpm_)[A-Za-z0-9._~+/\-]{8,}", re.IGNORECASE)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values of secret-looking keys, and token-looking text and passwords of addresses in any value, however deep."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


@lru_cache(1000)
def _is_secret(key: str) -> bool:
    return bool(_SECRET.search(key)) and not key.endswith(("_id", "_name"))


def _masked(key: str, value: Any) -> Any:
    if _is_secret(key):
        return "***"
    if isinstance(value, str):
        # Most values are short names and no addresses: looking costs more than all else of a line.
        told = _SECRET_TEXT.sub(r"\1***", value) if len(value) >= SHORTEST_SECRET else value
        return _SECRET_URL.sub(r"\1***@", told) if "://" in told else told
    if isinstance(value, Mapping):
        return {k: _masked(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", v) for v in value]
    return value


def configure(level: str = "INFO") -> None:
    """Send structlog and the standard library's records to stderr as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("urllib3", "proxmoxer", "amqp", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> Any:
    """Return a structlog logger; `log.info("run_transitioned", run_id=7)`."""
    return structlog.get_logger(module=name)
