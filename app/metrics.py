"""Prometheus metrics: requests of all web processes, open streams, what rows say, and what workers and runners counted.

Web processes share memory-mapped files below DATA_DIR/metrics; those of dead processes go when a new one starts.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask

from app.adapters import figures
from app.domain.figures import Durations, Gauges

if TYPE_CHECKING:
    from app.config import Settings

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_made: dict[str, Any] = {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _forget_dead(folder: Path, pattern: str = "*.db") -> None:
    for path in folder.glob(pattern):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not _alive(int(pid)):
            path.unlink(missing_ok=True)


def init_app(app: Flask, settings: "Settings") -> None:
    """Make this process's metrics, once."""
    folder = settings.data_dir / "metrics"
    if _made:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _forget_dead(folder)
        # The library reads this once, when it is imported.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(folder))
    except OSError:
        app.logger.warning("metrics_of_one_process_only")
    from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415 - after the variable is set

    _made["requests"] = Counter("tpm_http_requests_total", "Requests answered.", ["endpoint", "method", "status"])
    _made["seconds"] = Histogram("tpm_http_request_seconds", "Time to the first byte.", ["endpoint"], buckets=_BUCKETS)
    _made["streams"] = Gauge("tpm_sse_clients", "Open event streams.", multiprocess_mode="livesum")


def observe(endpoint: str, method: str, status: int, seconds: float) -> None:
    """Count one request."""
    if _made:
        _made["requests"].labels(endpoint, method, str(status)).inc()
        _made["seconds"].labels(endpoint).observe(seconds)


def streams(count: int) -> None:
    """Set how many event streams this process has open."""
    if _made:
        _made["streams"].set(count)


class Asked:
    """What rows and Redis say now, and what workers and runners have counted."""

    def __init__(self, found: Sequence[Gauges | Durations]) -> None:
        self._found = found

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415

        for one in self._found:
            if isinstance(one, Durations):
                times = HistogramMetricFamily(one.name, one.text, labels=one.labels)
                for labels, (buckets, total) in one.values.items():
                    times.add_metric(labels, list(buckets), total)
                yield times
            else:
                gauge = GaugeMetricFamily(one.name, one.text, labels=one.labels)
                for labels, value in one.values.items():
                    gauge.add_metric(labels, value)
                yield gauge
        counted = figures.read()
        for figure in figures.ALL:
            amounts = counted.get(figure.name, {})
            if figure.seconds:
                taken = HistogramMetricFamily(figure.name, figure.text)
                taken.add_metric([], *figures.histogram(amounts))
                yield taken
                continue
            counter = CounterMetricFamily(figure.name, figure.text, labels=figure.labels)
            # A counter that exists from the start grows in its first minute too; one with labels cannot.
            for labels, amount in (amounts or ({} if figure.labels else {(): 0.0})).items():
                counter.add_metric(labels, amount)
            yield counter


def render(asked: Asked) -> bytes:
    """Return the exposition text."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(asked)
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if shared is None:
        return generate_latest(REGISTRY) + generate_latest(registry)
    _forget_dead(Path(shared), "gauge_live*.db")
    MultiProcessCollector(registry, path=shared)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
