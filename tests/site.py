"""Every page of the product, from its own map of addresses: one that is new is visited by itself.

    for page in pages(stack.sql):   # [Page(rule="/runs/<int:run_id>", path="/runs/7"), …]
        ...

Values of addresses are looked up in the database: `<int:network_id>` is the newest row of `network`, a name is that of
the newest workspace or server. Where that does not do, `SAMPLES` says what does. HTML parts that a page fetches are in
the list too; what is no HTML is named in `NOT_HTML` with its reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from werkzeug.routing import AnyConverter, Rule

from app import create_app
from app.config import get_settings

Sql = Callable[[str], Sequence[Sequence[Any]]]
NOT_HTML = {
    "prefs.session_state": "204 or 401",
    "health.healthz": "text for load balancers",
    "health.readyz": "JSON for load balancers",
    "health.figures": "text for Prometheus",
    "dashboard.charts": "figures as JSON",
    "bulk.names": "names as JSON",
    "runs.log": "the log as text",
    "bulk.index": "leads back to the list",
    "notifications.text": "one text as JSON",
}
# What the newest row does not answer: {argument, or blueprint.argument: a query for its values, and for words that tell them apart}.
SAMPLES: dict[str, str] = {
    "name": "select name from server where deleted_at is null order by id desc limit 1",
    "workspaces.name": "select name from workspace order by id desc limit 1",
    "runs.run_id": "select max(id), state from run where state in ('applied', 'planned', 'errored', 'pending') group by state order by 1",
}
# Pages whose address is not enough: {rule: why it is visited by a test of its own}.
ELSEWHERE = {"/nodes/tasks/<int:cluster_id>/log": "needs a task of the cluster: tests/e2e/test_cluster_page.py"}
# Pages whose address says more than the map: each is visited as well; {} are the columns of the query's rows.
MORE: dict[str, tuple[str, str]] = {
    "/servers?group": ("/servers?group=tag&col=tags&col=workspace&col=uptime&col=owner&sort=-memory", ""),
    "/servers?q": ("/servers?q=none-such", ""),
    "/servers/new?again": ("/servers/new?again={}", "select max(id) from run where kind = 'create'"),
    "/palette?q": ("/palette?q=e", ""),
    "/admin/audit?q": ("/admin/audit?q=e", ""),
    "/runs?state": ("/runs?state=errored", ""),
    "/workspaces/<name>?old&new": (
        "/workspaces/{}?old={}&new={}",
        "select w.name, min(v.id), max(v.id) from workspace w join state_version v on v.workspace_id = w.id group by w.name limit 1",
    ),
}


@dataclass(frozen=True)
class Page:
    """A rule of the map, with words that tell its addresses apart, and one address that it fits."""

    rule: str
    path: str


class Unknown(AssertionError):
    """An address nobody knows a value for."""


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules that answer a GET with HTML."""
    found = create_app(get_settings()).url_map.iter_rules()
    return tuple(sorted((r for r in found if "GET" in (r.methods or ()) and not r.rule.startswith(("/api/", "/static/")) and r.endpoint not in NOT_HTML and r.rule not in ELSEWHERE), key=lambda r: r.rule))


def pages(sql: Sql, samples: Mapping[str, str] = SAMPLES, *, missing: bool = False) -> list[Page]:
    """Return an address, or several, for every rule; rules nobody has a row for are left out when some may be `missing`."""
    found: list[Page] = []
    for rule in rules():
        try:
            found += _of(rule, sql, samples)
        except Unknown:
            if not missing:
                raise
    return [*found, *_more(sql)]


def _more(sql: Sql) -> Iterator[Page]:
    for rule, (path, query) in MORE.items():
        rows = [row for row in sql(query) if row[0] is not None] if query else [()]
        yield from (Page(rule, path.format(*(quote(str(value), safe="") for value in row))) for row in rows)


def _of(rule: Rule, sql: Sql, samples: Mapping[str, str]) -> Iterator[Page]:
    found: list[tuple[dict[str, Any], tuple[str, ...]]] = [({}, ())]
    for name in sorted(rule.arguments):
        found = [({**values, name: row[0]}, (*words, *row[1:])) for values, words in found for row in _values(rule, name, sql, samples)]
    for values, words in found:
        built = rule.build(values)
        assert built, (rule.rule, values)
        yield Page(" ".join([rule.rule, *words]), built[1].removeprefix("|"))


def _values(rule: Rule, name: str, sql: Sql, samples: Mapping[str, str]) -> list[tuple[Any, ...]]:
    converter = rule._converters[name]
    if isinstance(converter, AnyConverter):
        return [(item, item) for item in sorted(converter.items)]
    query = samples.get(f"{rule.endpoint.partition('.')[0]}.{name}") or samples.get(name)
    table = name.removesuffix("_id")
    if not query and name.endswith("_id") and sql(f"select to_regclass('\"{table}\"')")[0][0]:
        query = f'select id from "{table}" order by created_at desc, id desc limit 1'
    found = [tuple(row) for row in sql(query) if row[0] is not None] if query else []
    if not found:
        raise Unknown(f"nobody knows a {name} for {rule.rule} ({rule.endpoint}): make such a row first, or say in tests/site.py where one is to be had")
    return found
