"""What a server uses, as curves: a part of the server's page, fetched from Proxmox when the page is there."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request
from flask_babel import LazyString, format_decimal
from flask_babel import lazy_gettext as _l

from app.domain.permissions import Permission
from app.domain.usage import Timeframe, UsagePoint
from app.errors import AppError
from app.extensions import db
from app.messages import hint_of, text_of
from app.routes.access import current_actor, needs
from app.routes.forms import is_partial, page
from app.services import servers, usage
from app.services.usage import Figures, Usage

bp = Blueprint("usage", __name__, url_prefix="/servers/<name>/usage")
FRAMES: dict[Timeframe, LazyString] = {
    Timeframe.HOUR: _l("Hour"), Timeframe.DAY: _l("Day"), Timeframe.WEEK: _l("Week"), Timeframe.MONTH: _l("Month"),
}  # fmt: skip
RATES = ("B/s", "kB/s", "MB/s", "GB/s")


@dataclass(frozen=True)
class Curve:
    name: LazyString
    of: Callable[[UsagePoint], float | None]


def _percent(value: float) -> str:
    return f"{format_decimal(round(100 * value, 1))} %"


def _gib(value: float) -> str:
    return f"{format_decimal(round(value / 1024**3, 2))} GiB"


def _rate(value: float) -> str:
    step = 0
    while value >= 1000 and step < len(RATES) - 1:
        value, step = value / 1000, step + 1
    return f"{format_decimal(round(value, 1))} {RATES[step]}"


@dataclass(frozen=True)
class Chart:
    """One picture: its unit as app/assets/js/usage.js knows it, how a value is said, and its curves."""

    title: LazyString
    unit: str
    said: Callable[[float], str]
    curves: tuple[Curve, ...]


CHARTS = (
    Chart(_l("CPU"), "share", _percent, (Curve(_l("CPU"), lambda p: p.cpu),)),
    Chart(_l("Memory"), "bytes", _gib, (Curve(_l("used"), lambda p: p.memory), Curve(_l("there"), lambda p: p.memory_total))),
    Chart(_l("Network"), "rate", _rate, (Curve(_l("in"), lambda p: p.net_in), Curve(_l("out"), lambda p: p.net_out))),
    Chart(_l("Disk"), "rate", _rate, (Curve(_l("read"), lambda p: p.disk_read), Curve(_l("written"), lambda p: p.disk_write))),
)


@dataclass(frozen=True)
class Drawn:
    """A chart with its values: JSON for the picture, figures for who does not see it."""

    title: LazyString
    unit: str
    values: str
    names: tuple[LazyString, ...]
    figures: list[tuple[LazyString, str, str, str]]


def _drawn(chart: Chart, found: Usage) -> Drawn:
    curves = [(curve.name, found.curve(curve.of)) for curve in chart.curves]
    told = [(name, figures) for name, curve in curves if (figures := usage.figures(curve))]
    return Drawn(
        chart.title, chart.unit, json.dumps([[p.at_s for p in found.points], *(curve for _, curve in curves)]), tuple(c.name for c in chart.curves),
        [(name, *_said(chart, figures)) for name, figures in told],
    )  # fmt: skip


def _said(chart: Chart, figures: Figures) -> tuple[str, str, str]:
    return chart.said(figures.last), chart.said(figures.mean), chart.said(figures.highest)


def timeframe() -> Timeframe:
    """Return the time frame that the address asks for."""
    asked = request.args.get("timeframe", "")
    return Timeframe(asked) if asked in set(Timeframe) else Timeframe.HOUR


@bp.get("")
@needs(Permission.VIEW)
def index(name: str) -> Response:
    actor, session, frame = current_actor(), db.session(), timeframe()
    server = servers.get(session, actor, name)
    shown: dict[str, Any] = {"server": server, "frame": frame.value, "frames": FRAMES, "charts": [], "trouble": ""}
    try:
        found = usage.read(session, actor, name, frame)
        shown["charts"] = [_drawn(chart, found) for chart in CHARTS]
    except AppError as exc:
        shown["trouble"] = f"{text_of(exc.code, exc.args_)} {hint_of(exc.code, exc.args_)}".strip()
    response = page("usage/_charts.html" if is_partial() else "usage/index.html", **shown)
    response.vary.add("HX-Request")
    return response
