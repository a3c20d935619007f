"""Text that others wrote does nothing, on any page: it is in every column that holds words, and every page is looked at."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Column, Enum, String
from sqlalchemy.dialects.postgresql import JSONB

from app.models import Base
from tests.e2e.conftest import NewContext, csp_reports
from tests.e2e.pages import live
from tests.site import pages
from tests.stack import Api, Stack

TRICK = "q{{7*7}}q"
ANSI, BIDI = "\x1b[31m", "\u202e"
# By the room there is; what stands in an address has no slash, and each ends in a mark that says which column it is.
LONG = f"""<img src=x onerror="alert(1)"></script><script>alert(2)</script>{TRICK}${{7*7}}{ANSI}red\x1b]0;title\x07\x9b2J{BIDI}live\u2066 """
MIDDLE = f"<img src=x onerror=alert(1)>{TRICK}\x1b{BIDI}"
SHORT = f"<b id=x>{BIDI}\x1b"
IN_ADDRESSES = {"server.name", "workspace.name"}
# Columns that hold no words of anybody's: numbers, keys and codes of ours, and what has to work for pages to be there at all.
OURS = {
    "user.password_hash", "user.language", "api_token.token_hash", "api_token.prefix", "cluster.endpoint", "cluster.auth_id", "cluster.ca_pem",
    "cluster.fingerprint", "cluster.status", "network.cidr", "network.gateway", "network.range_low", "network.range_high", "notification.code",
    "notification.event_key", "notification.link", "run_event.event_key", "run_event.name", "run_lease.boot_id", "run_log.phase", "plan_change.action",
    "saved_plan.sha256", "state_version.sha256", "state_version.lineage", "reservation.kind", "reservation.value", "slot.resource", "action.upid",
    "unmanaged_server.source_key", "server.slug", "plan_change.slug", "server.marker", "guest.marker", "workspace.flavour", "network.dns_servers", "run.targets", "schedule.cron",
    "schedule.timezone", "safe_change.apply",
}  # fmt: skip
OURS_TABLES = {"setting", "outbox", "idempotency_key", "alembic_version"}
# Codes and names of ours within JSON.
OURS_KEYS = {"code", "kind", "action", "step", "interface", "state", "status", "permission", "ip", "server_id", "at", "role", "sign"}
# What must be seen somewhere, or the walk proves nothing.
SEEN = (
    "server.name", "server.description", "server.template_name", "server.node_name", "server.tags", "workspace.name", "workspace.lock_reason",
    "user.username", "project.name", "network.name", "network.bridge", "template.name", "preset.name", "api_token.name", "saved_view.name", "schedule.name",
    "guest.name", "node.name", "storage.name", "cluster.name", "notification.args", "audit_event.object_name", "audit_event.username", "run.comment",
    "run.error", "plan_change.name", "plan_change.attributes", "notification.legacy_text", "unmanaged_server.name", "unmanaged_server.role", "unmanaged_server.os",
    "unmanaged_server.former_status", "unmanaged_server.ip_addresses",
)  # fmt: skip
LOOK = """() => {
  const raw = /[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]/;
  const values = [...document.querySelectorAll('input, textarea, option')].map(f => f.value);
  const text = [document.documentElement.outerHTML, document.body.innerText, document.title, ...values].join('\\n');
  const from = text.match(raw);
  return {
    made: document.querySelectorAll('img, #x, [onerror], main script, script:not([src^="/static/"])').length,
    raw: from ? JSON.stringify(text.slice(Math.max(0, from.index - 60), from.index + 20)) : '',
    counted: /q49q|\\$49/.test(text),
    marks: [...new Set(text.match(/~\\d+~/g) ?? [])],
  };
}"""


def payload(room: int, mark: str, *, in_address: bool) -> str:
    """The worst that fits."""
    for text in (LONG, MIDDLE, SHORT):
        if len(text) + len(mark) <= room and not (in_address and "/" in text):
            return text + mark
    return "<i>"[:room]


def _poisoned(value: Any, text: str) -> Any:
    """The same JSON with text for each of its words."""
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [_poisoned(v, text) for v in value]
    if isinstance(value, dict):
        return {k: v if k in OURS_KEYS else _poisoned(v, text) for k, v in value.items()}
    return value


def poison(stack: Stack) -> dict[str, str]:
    """Write hostile text into every column that holds words; the marks by column. A new column is in it by itself."""
    marks: dict[str, str] = {}
    for table in Base.metadata.sorted_tables:
        columns = [c for c in table.columns if _holds_words(c)]
        if table.name in OURS_TABLES or not columns:
            continue
        marks |= {f"{table.name}.{c.name}": f"~{len(marks) + n}~" for n, c in enumerate(columns)}
        key = [c.name for c in table.primary_key.columns]
        rows = stack.sql(f'select {", ".join(key + [f"""{c.name}""" for c in columns])} from "{table.name}"')
        updates = [_update(table.name, dict(zip(key, row, strict=False)), {c: (v, marks[f"{table.name}.{c.name}"]) for c, v in zip(columns, row[len(key) :], strict=True)}) for row in rows]
        if updates:
            stack.sql_write(";".join(updates))
    return marks


def _holds_words(column: Column[Any]) -> bool:
    kind = isinstance(column.type, String | JSONB) and not isinstance(column.type, Enum)
    return kind and not column.foreign_keys and not column.primary_key and f"{column.table.name}.{column.name}" not in OURS


def _update(table: str, key: dict[str, Any], values: dict[Column[Any], tuple[Any, str]]) -> str:
    row, put = str(next(iter(key.values()))), []
    for column, (value, mark) in values.items():
        if isinstance(column.type, JSONB):
            put.append(f"{column.name} = {_quoted(json.dumps(_poisoned(value, LONG + mark)))}::jsonb" if value is not None else "")
        else:
            # With the row's number, for names that must be unlike all others.
            text = payload(getattr(column.type, "length", None) or 10_000, mark + row, in_address=f"{table}.{column.name}" in IN_ADDRESSES)
            put.append(f"{column.name} = {_quoted(text)}")
    return f"update \"{table}\" set {', '.join(filter(None, put))} where {' and '.join(f'{k} = {_quoted(v)}' for k, v in key.items())}"


def _quoted(value: Any) -> str:
    return "'" + str(value).replace("'", "''").replace("%", "%%") + "'"


@dataclass(frozen=True)
class Hostile:
    """The instance, the marks by column, the cookies of an administrator, and where the server with a snapshot is."""

    stack: Stack
    marks: dict[str, str]
    state: Path
    server: int
    node: str


@pytest.fixture(scope="module")
def hostile(stack: Stack, api: Api, admin_state: Path, lived: str) -> Iterator[Hostile]:
    """The instance with hostile text in all its rows. These tests are the last: nothing would put the rows right again."""
    if not isinstance(stack, Stack):
        pytest.skip("somebody else's instance is not spoilt")
    # As Proxmox says it: in a message, and in what somebody wrote about a snapshot.
    stack.control("fail", method="POST", suffix="/clone", status=500, message=LONG.partition("$")[0], times=1)
    api.wait_run(api.create("refused")["run_id"], "errored")
    server = stack.sql(f"select id, node_name from server where name = '{lived}'")[0]
    name = stack.sql("select name from workspace order by id desc limit 1")[0][0]
    api.post(f"/api/workspaces/{name}/lock", {"reason": "mine"})
    stack.sql_write("update run set comment = 'x' where id = (select max(id) from run where state = 'applied')")
    pids = [pid for part in ("worker", "worker_actions", "beat") if (pid := stack.info["pids"][part])]
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)
    try:
        marks = poison(stack)
        # One notification in the words of the older application; where those are, a text of ours is not shown.
        stack.sql_write("""update notification set legacy_text = null where id <>
            (select id from notification where user_id = (select min(id) from "user") order by id desc offset 1 limit 1)""")
        # One piece a log, as long as it says it is.
        stack.sql_write("""delete from run_log where log_offset > 0; update run_log set text = text || chr(10);
            update run_log set length = octet_length(text); update run set log_bytes = l.length from run_log l where l.run_id = run.id""")
        yield Hostile(stack, marks, admin_state, server[0], server[1])
    finally:
        for pid in pids:
            os.killpg(pid, signal.SIGCONT)


@pytest.fixture
def nasty(hostile: Hostile, open_browser: NewContext) -> Iterator[Page]:
    """A page of the administrator's; a dialog, or a script that ran, fails the test."""
    context = open_browser(storage_state=hostile.state, base_url=hostile.stack.base)
    opened: list[str] = []
    page = context.new_page()
    page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    yield page
    assert not opened, f"a script ran: {opened}"


def faults(page: Page, path: str) -> tuple[list[str], set[str]]:
    found = page.evaluate(LOOK)
    said = [f"{path}: {n} elements made of text" for n in [found["made"]] if n]
    said += [f"{path}: control characters: {found['raw']}"] if found["raw"] else []
    return said + ([f"{path}: an expression was worked out"] if found["counted"] else []), set(found["marks"])


def test_hostile_text_does_nothing_on_any_page(nasty: Page, hostile: Hostile) -> None:
    stack, marks = hostile.stack, hostile.marks
    wrong: list[str] = []
    seen: set[str] = set()
    for at in pages(stack.sql):
        answer = nasty.goto(at.path)
        assert answer is not None
        if answer.status != 200:
            wrong.append(f"{at.path}: {answer.status}")
        more, there = faults(nasty, at.path)
        wrong += more
        seen |= there
    assert not wrong, "\n".join(wrong)
    missing = [name for name in SEEN if marks[name] not in seen]
    assert not missing, f"on no page: {missing}"
    assert not csp_reports(stack)


def test_hostile_text_does_nothing_where_scripts_put_it(nasty: Page, hostile: Hostile) -> None:
    """The log, what opens under the bell, what the palette finds, toasts, and the question before a deletion."""
    run = hostile.stack.sql("select max(id) from run where state = 'errored'")[0][0]
    live(nasty, f"/runs/{run}")
    expect(nasty.locator("#log")).to_contain_text(TRICK)
    wrong = faults(nasty, "log")[0]
    nasty.get_by_role("button", name="Notifications").click()
    expect(nasty.locator("#bell")).to_contain_text(TRICK)
    wrong += faults(nasty, "bell")[0]
    nasty.keyboard.press("Escape")
    nasty.keyboard.press("Control+k")
    nasty.keyboard.type("img")
    expect(nasty.locator("#palette [role=option]").first).to_contain_text("<img")
    wrong += faults(nasty, "palette")[0]
    nasty.keyboard.press("Escape")
    live(nasty, "/servers")
    nasty.locator("[data-row-menu]").first.click()
    nasty.get_by_role("menuitem", name="Delete").click()
    expect(nasty.get_by_role("dialog")).to_contain_text("<img")
    wrong += faults(nasty, "question")[0]
    nasty.keyboard.press("Escape")
    # A notification of one's own becomes a toast.
    known = hostile.stack.sql("select max(id) from notification")[0][0]
    nasty.evaluate("id => document.dispatchEvent(new CustomEvent('tpm:notification', { detail: { id, own: true, unread: 1 } }))", known)
    expect(nasty.locator(".toast-x")).to_contain_text(TRICK)
    wrong += faults(nasty, "toast")[0]
    assert not wrong, "\n".join(wrong)


def test_hostile_text_of_a_snapshot_does_nothing(nasty: Page, hostile: Hostile) -> None:
    """It is read from Proxmox while one looks."""
    hostile.stack.sql_write(f"update server set node_name = {_quoted(hostile.node)} where id = {hostile.server}")
    name = quote(hostile.stack.sql(f"select name from server where id = {hostile.server}")[0][0])
    live(nasty, f"/servers/{name}/snapshots")
    expect(nasty.locator("#snapshots")).to_contain_text(TRICK)
    assert not faults(nasty, "snapshots")[0]
