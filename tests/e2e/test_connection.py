"""The connection behind the live pages: lost, slow, resumed, with a gap, in a tab that nobody sees, and of two people at once."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import redis
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext, signed_in
from tests.e2e.pages import answer, fresh, live, sign_in
from tests.stack import Api, Stack, children

STREAM = "tpm:events"
LOST_MS = 8_000
# When each status of a row was painted, and whether the pill changed: by the page's own clock, which is the machine's.
WATCH = """name => {
  window.neverReloaded = true;
  window.painted = {};
  window.said = [];
  window.heard = [];
  document.addEventListener('tpm:server', e => window.heard.push(e.detail.mark));
  new MutationObserver(() => {
    const status = document.querySelector(`tr[data-name="${name}"] .st`)?.textContent.trim();
    if (status) window.painted[status] ??= Date.now();
    const pill = document.querySelector('#live').dataset.s;
    if (window.said.at(-1)?.[0] !== pill) window.said.push([pill, Date.now()]);
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


@pytest.fixture(scope="module")
def name(api: Api) -> str:
    return api.made(fresh("wired"))[0]


@contextmanager
def without_web(stack: Stack) -> Iterator[None]:
    """The web server's processes are stopped: they take connections and answer nothing."""
    master = stack.info["pids"]["web"]
    pids = [master, *children(master)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def web_gone(stack: Stack) -> Iterator[None]:
    """The web server's workers are dead: every connection is cut, and until the end nobody answers a new one."""
    master = stack.info["pids"]["web"]
    workers = children(master)
    os.kill(master, signal.SIGSTOP)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        os.kill(master, signal.SIGCONT)


@contextmanager
def offline(page: Page) -> Iterator[None]:
    """This browser has no network."""
    page.context.set_offline(True)
    try:
        yield
    finally:
        page.context.set_offline(False)


def switch(api: Api, name: str, action: str) -> datetime:
    """Switch a server; returns when that was known here."""
    task = api.wait_task(api.post(f"/api/servers/{name}/{action}").json["task_id"])
    return datetime.fromisoformat(task["finished_at"]).astimezone(UTC)


def test_two_people_in_two_browsers_see_a_change_within_a_second(open_browser: NewContext, stack: Stack, api: Api, name: str, browser, tmp_path_factory) -> None:
    _, password = stack.user("onlooker", "operator")
    theirs = open_browser(storage_state=signed_in(browser, stack.base, "onlooker", password, tmp_path_factory)).new_page()
    pages = [live(open_browser().new_page(), f"/servers?q={name}"), live(theirs, f"/servers?q={name}")]
    for page in pages:
        page.evaluate(WATCH, name)
    for action, status in (("stop", "Stopped"), ("start", "Running")):
        known_ms = switch(api, name, action).timestamp() * 1000
        for page in pages:
            expect(page.locator(f'tr[data-name="{name}"] .st')).to_have_text(status)
        seen = [page.evaluate("status => window.painted[status]", status) for page in pages]
        assert max(seen) - min(seen) < 1000, (action, seen)
        assert max(seen) - known_ms < 1000, (action, known_ms, seen)
    assert all(page.evaluate("window.neverReloaded") for page in pages)


@pytest.mark.parametrize("mode", ["shared", "leader", "own"])
def test_a_lost_connection_is_said_after_three_seconds_and_what_was_missed_comes_by_itself(open_browser: NewContext, stack: Stack, name: str, mode: str) -> None:
    context = open_browser()
    if mode != "shared":
        context.add_init_script("delete window.SharedWorker")
    if mode == "own":
        context.add_init_script("delete window.BroadcastChannel")
    page = live(context.new_page(), f"/servers?q={name}")
    assert page.evaluate("document.documentElement.dataset.stream") == mode
    page.evaluate(WATCH, name)
    pill, row = page.locator("#live"), page.locator(f'tr[data-name="{name}"]')
    number = int(stack.sql(f"select id from server where name = '{name}'")[0][0])
    with web_gone(stack):
        began = page.evaluate("Date.now()")
        _publish(stack, [{"id": number, "name": name, "mark": n} for n in range(1, 51)])
        expect(pill).to_have_text("Reconnecting…", timeout=LOST_MS)
        assert 2900 <= dict(page.evaluate("window.said"))["waiting"] - began < 6000
        expect(pill).to_be_visible()
        expect(row).to_be_visible()
    expect(pill).to_have_attribute("data-s", "live", timeout=LOST_MS)
    page.wait_for_function("() => window.heard.includes(50)")
    assert [n for n in page.evaluate("window.heard") if n] == list(range(1, 51))
    assert page.evaluate("window.neverReloaded")
    expect(page.locator(".toast-x")).to_have_count(0)


def test_a_browser_without_a_network_says_so_and_is_up_to_date_when_it_has_one_again(open_browser: NewContext, api: Api, name: str) -> None:
    page = live(open_browser().new_page(), f"/servers?q={name}")
    page.evaluate(WATCH, name)
    pill = page.locator("#live")
    with offline(page):
        switch(api, name, "stop")
        expect(pill).to_have_text("Reconnecting…", timeout=LOST_MS)
    expect(pill).to_have_attribute("data-s", "live", timeout=LOST_MS)
    row = page.locator(f'tr[data-name="{name}"] .st')
    expect(row).to_have_text("Stopped")
    switch(api, name, "start")
    expect(row).to_have_text("Running")
    assert page.evaluate("window.neverReloaded")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_short_loss_is_not_worth_a_word(open_browser: NewContext, name: str) -> None:
    page = live(open_browser().new_page(), f"/servers?q={name}")
    page.evaluate(WATCH, name)
    with offline(page):
        page.evaluate("new Promise(done => setTimeout(done, 1000))")
    page.evaluate("new Promise(done => setTimeout(done, 3000))")
    assert "waiting" not in dict(page.evaluate("window.said"))


def test_a_web_server_that_hangs_loses_nothing_of_a_page_or_of_what_is_sent(open_browser: NewContext, stack: Stack, api: Api, name: str) -> None:
    context = open_browser()
    page, form = live(context.new_page(), f"/servers?q={name}"), live(context.new_page(), "/networks/new")
    page.evaluate(WATCH, name)
    network = fresh("slow")
    form.get_by_label("Name", exact=True).fill(network)
    form.get_by_label("Bridge").fill("vmbr1")
    form.get_by_label("Addresses", exact=True).fill("10.99.0.0/24")
    with without_web(stack):
        form.get_by_role("button", name="Save network").click(no_wait_after=True)
        expect(page.locator(f'tr[data-name="{name}"] .st')).to_have_text("Running")
        page.evaluate("new Promise(done => setTimeout(done, 4000))")
    form.wait_for_url("**/networks")
    expect(form.get_by_role("row", name=network)).to_be_visible()
    switch(api, name, "stop")
    expect(page.locator(f'tr[data-name="{name}"] .st')).to_have_text("Stopped")
    switch(api, name, "start")
    assert page.evaluate("window.neverReloaded")


def test_a_connection_that_looks_open_but_says_nothing_is_given_up(open_browser: NewContext, stack: Stack) -> None:
    """As after a laptop's sleep: nothing was closed, and nothing comes any more."""
    context = open_browser()
    context.add_init_script("delete window.SharedWorker; delete window.BroadcastChannel")
    page = context.new_page()
    page.clock.install()
    live(page, "/runs")
    with without_web(stack):
        page.clock.fast_forward(41_000)
        page.clock.fast_forward(4_000)
        expect(page.locator("#live")).to_have_text("Reconnecting…")
    page.clock.fast_forward(31_000)
    expect(page.locator("#live")).to_have_attribute("data-s", "live", timeout=LOST_MS)


def test_pages_are_whole_at_once_while_proxmox_takes_its_time(open_browser: NewContext, stack: Stack, name: str) -> None:
    page = open_browser().new_page()
    stack.control("network", latency=4)
    try:
        for path in ("/", "/servers", f"/servers/{name}", "/nodes", "/servers/new", "/templates", "/networks"):
            page.goto(path, wait_until="domcontentloaded")
            shown = page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd")
            assert shown < 2000, (path, shown)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        stack.control("network", latency=0)
    # What is asked of Proxmox itself follows when it answers.
    live(page, f"/servers/{name}")
    expect(page.locator("#snapshots")).to_contain_text("None yet")


def test_after_a_gap_everything_is_fetched_anew_but_not_from_under_somebodys_hands(open_browser: NewContext, stack: Stack, name: str) -> None:
    context = open_browser()
    page, form = live(context.new_page(), f"/servers?q={name}"), live(context.new_page(), "/networks/new")
    for tab in (page, form):
        tab.evaluate(WATCH, name)
    form.get_by_label("Name", exact=True).fill("half typed")
    with offline(page):
        expect(page.locator("#live")).to_have_text("Reconnecting…", timeout=LOST_MS)
        _forget_events(stack)
        stack.sql_write(f"update server set cpu_percent = 77 where name = '{name}'")
    page.wait_for_function(_reloaded, timeout=LOST_MS)
    expect(page.locator(f'tr[data-name="{name}"]')).to_be_visible()
    expect(form.locator("#live")).to_have_attribute("data-s", "live", timeout=LOST_MS)
    assert form.evaluate("window.neverReloaded")
    expect(form.get_by_label("Name", exact=True)).to_have_value("half typed")


_reloaded = "() => window.neverReloaded === undefined"


def _forget_events(stack: Stack) -> None:
    """What happened lies further back than the stream reaches."""
    url = json.loads((stack.data_dir / "instance.json").read_text())["redis_url"]
    with redis.Redis.from_url(url) as client:
        client.xtrim(STREAM, maxlen=0, approximate=False)


def test_signing_out_ends_this_browser_everywhere_and_no_other(open_browser: NewContext, stack: Stack) -> None:
    _, password = stack.user("twice", "viewer")
    here, elsewhere = open_browser(storage_state=None), open_browser(storage_state=None)
    one, two, other = here.new_page(), here.new_page(), elsewhere.new_page()
    sign_in(one, "twice", password)
    sign_in(other, "twice", password)
    live(two, "/runs")
    live(other, "/runs")
    one.bring_to_front()  # what is clicked in a tab that nobody sees takes its time
    one.get_by_role("button", name="Account of twice").click()
    one.get_by_role("button", name="Sign out").click()
    two.wait_for_url("**/login?**")
    expect(other.locator("#live")).to_have_attribute("data-s", "live")
    # Everywhere: the other browser's session ends too.
    sign_in(one, "twice", password)
    live(one, "/account")
    one.get_by_role("button", name="Sign out everywhere").click()
    answer(one)
    other.wait_for_url("**/login?**")


HIDE = """
window.unseen = true;
window.later = window.setTimeout.bind(window);
window.work = { fetch: 0, timeout: 0, interval: 0, frame: 0 };
Object.defineProperty(document, 'hidden', { get: () => window.unseen });
Object.defineProperty(document, 'visibilityState', { get: () => (window.unseen ? 'hidden' : 'visible') });
for (const [own, what] of [['fetch', 'fetch'], ['setTimeout', 'timeout'], ['requestAnimationFrame', 'frame']]) {
  const real = window[own].bind(window);
  window[own] = (...args) => { window.work[what] += 1; return real(...args); };
}
const every = window.setInterval.bind(window);
window.setInterval = (fn, wait) => every(() => { window.work.interval += 1; fn(); }, wait);
"""


# Nothing was asked of the server for half a second.
SETTLED = """async () => {
  for (let before = -1; before !== performance.getEntriesByType('resource').length;) {
    before = performance.getEntriesByType('resource').length;
    await new Promise(done => window.later(done, 500));
  }
}"""


def test_a_tab_that_nobody_sees_does_nothing_and_catches_up_when_somebody_looks(open_browser: NewContext, api: Api, name: str) -> None:
    context = open_browser()
    hidden = context.new_page()
    hidden.add_init_script(HIDE)
    for path in (f"/servers?q={name}", "/", "/notifications"):
        live(hidden, path)
        hidden.evaluate(SETTLED)
        hidden.evaluate("Object.keys(window.work).forEach(what => { window.work[what] = 0; })")
        seen = live(context.new_page(), f"/servers?q={name}")
        for action, status in (("stop", "Stopped"), ("start", "Running"), ("stop", "Stopped")):
            switch(api, name, action)
            expect(seen.locator(f'tr[data-name="{name}"] .st')).to_have_text(status)
        assert hidden.evaluate("window.work") == {"fetch": 0, "timeout": 0, "interval": 0, "frame": 0}, path
        if path.startswith("/servers"):
            expect(hidden.locator(f'tr[data-name="{name}"] .st')).to_have_text("Running")
        hidden.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
        if path.startswith("/servers"):
            expect(hidden.locator(f'tr[data-name="{name}"] .st')).to_have_text("Stopped")
            expect(hidden.locator(".toast-x").first).to_be_visible()
            assert hidden.locator(".toast-x").count() <= 3
        else:
            expect(hidden.locator("#unread")).to_be_visible()
        switch(api, name, "start")
        seen.close()


def test_never_more_than_three_toasts_and_errors_stay_until_they_are_closed(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    page.clock.install()
    live(page, "/templates")
    box = page.get_by_role("region", name="Messages")
    expect(box).to_have_attribute("aria-live", "polite")
    word = fresh("toast")
    told = iter(_notifications(stack, word, ["success", "error", "success", "success", "error", "success"]))
    texts = []
    for kind in ("success", "error", "success", "success", "error", "success"):
        number, text = next(told)
        texts.append(text)
        page.evaluate("id => document.dispatchEvent(new CustomEvent('tpm:notification', { detail: { id, own: true, unread: 1 } }))", number)
        expect(box.locator(".toast-x").last).to_contain_text(text)
        assert box.locator(".toast-x").count() <= 3
        expect(box.get_by_role("link", name="Open").last).to_have_attribute("href", "/runs")
        assert (box.locator(".toast-x").last.get_attribute("role") == "alert") == (kind == "error")
    errors = box.get_by_role("alert")
    expect(errors).to_have_count(2)
    page.clock.fast_forward(10 * 60_000)
    expect(box.locator(".toast-x")).to_have_count(2)
    expect(errors.first).to_contain_text(texts[1])
    errors.first.get_by_role("button", name="Close").click()
    expect(errors).to_have_count(1)


def _notifications(stack: Stack, word: str, severities: list[str]) -> list[tuple[int, str]]:
    out = []
    for n, severity in enumerate(severities):
        text = f"{word}-{n}"
        rows = stack.sql(f"""insert into notification (user_id, event_key, code, args, severity, link, own)
            select id, '{text}', 'run_applied', jsonb_build_object('servers', jsonb_build_array('{text}')), '{severity}', '/runs', true
            from "user" where username = 'admin' returning id""")
        out.append((int(rows[0][0]), text))
    return out


def test_a_tab_that_comes_back_after_long_asks_once_and_not_for_every_event(open_browser: NewContext, stack: Stack, name: str) -> None:
    """However much happened meanwhile, one fetch of each part."""
    page = open_browser().new_page()
    page.add_init_script(HIDE)
    live(page, "/")
    page.evaluate(SETTLED)
    page.evaluate("Object.keys(window.work).forEach(what => { window.work[what] = 0; })")
    number = int(stack.sql(f"select id from server where name = '{name}'")[0][0])
    _publish(stack, [{"id": number, "name": name, "cpu": n % 100} for n in range(500)])
    expect(page.locator("#live")).to_have_attribute("data-s", "live")
    page.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate(SETTLED)
    assert page.evaluate("window.work.fetch") <= 3


def _publish(stack: Stack, events: list[dict[str, object]]) -> None:
    url = json.loads((stack.data_dir / "instance.json").read_text())["redis_url"]
    with redis.Redis.from_url(url) as client:
        for data in events:
            client.xadd(STREAM, {"e": "server", "a": "all", "d": json.dumps(data)})
