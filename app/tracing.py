"""Traces by OpenTelemetry, when an endpoint for them is configured; otherwise nothing of it is loaded and every call is nearly free.

    with tracing.span("plan", parent=origin.get("traceparent", ""), run_id=7):
        ...

What begins somewhere and goes on in another process takes its `origin()` along, in a message or a row: the id of the
request that it came from, and where its trace goes on.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from app.config import get_settings
from app.log import get_logger

log = get_logger(__name__)
SERVICE = "terraform-proxmox-manager"
DELAY_MS, EXPORT_S = 1000, 5
_NAMES = ("request_id", "traceparent")
_part = "web"
_made: tuple[int, Any, Any] | None = None  # for which process, its provider and its tracer


def part(name: str) -> None:
    """Name what this process is: web, worker, runner."""
    global _part  # noqa: PLW0603 - one a process
    _part = name


def on() -> bool:
    """True when traces are wanted."""
    return bool(get_settings().otel_exporter_otlp_endpoint)


def _tracer() -> Any:
    """This process's tracer; a child makes its own, since threads and connections do not outlive a fork."""
    global _made  # noqa: PLW0603
    if _made is None or _made[0] != os.getpid():
        if sys.modules.get("opentelemetry.sdk.metrics", sys) is None:
            del sys.modules["opentelemetry.sdk.metrics"]  # kept out in app/__init__.py
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - 12 MB that nobody has without an endpoint
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        settings = get_settings()
        headers = settings.otel_exporter_otlp_headers.get_secret_value() if settings.otel_exporter_otlp_headers else ""
        exporter = OTLPSpanExporter(
            endpoint=f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S,
            headers=dict(pair.split("=", 1) for pair in headers.split(",") if "=" in pair),
        )  # fmt: skip
        provider = TracerProvider(resource=Resource({"service.name": SERVICE, "service.instance.id": f"{_part}-{os.getpid()}", "tpm.part": _part}))
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=DELAY_MS))
        _made = os.getpid(), provider, provider.get_tracer(SERVICE)
    return _made[2]


@contextmanager
def span(name: str, parent: str = "", **attributes: str | int) -> Iterator[None]:
    """Trace a piece of work: below `parent` (a traceparent), else below what this process does now."""
    if not on():
        yield
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    with _tracer().start_as_current_span(name, context=context, attributes=attributes):
        yield


def past(name: str, began_s: float, **attributes: str | int) -> None:
    """Trace what is over by now, below what this process does: it began so many seconds ago."""
    if on():
        _tracer().start_span(name, start_time=time.time_ns() - round(began_s * 1e9), attributes=attributes).end()


def origin() -> dict[str, str]:
    """Return what a message or a row takes along; empty when nobody's request is behind it."""
    found = {name: str(value) for name, value in structlog.contextvars.get_contextvars().items() if name == "request_id"}
    if on():
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        found |= {name: text for name, text in carrier.items() if name == "traceparent"}
    return found


def take_up(given: Mapping[str, Any] | None, **ids: str | int) -> dict[str, str]:
    """From now on this process's log lines carry the request's id and these; returns the origin, without what is none."""
    known = {name: str(given[name]) for name in _NAMES if given and given.get(name)}
    structlog.contextvars.bind_contextvars(**{k: v for k, v in known.items() if k == "request_id"}, **ids)
    return known


def flush() -> None:
    """Send what is not sent yet; before a process ends without saying so."""
    if _made is not None and _made[0] == os.getpid():
        _made[1].force_flush(EXPORT_S * 1000)
