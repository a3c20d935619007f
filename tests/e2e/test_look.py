"""Themes, widths, languages: readable, no sideways scroll, nothing for axe to find."""

import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import NewContext, csp_reports
from tests.e2e.pages import fresh, live, made
from tests.stack import Api, Stack

SLIGHT = 0.02  # of the window moved, all in all: what a font that comes late makes
# Layout that moved by itself, and what was asked of whom.
SHIFTS = """
window.shift = 0;
window.shifted = [];
new PerformanceObserver(list => {
  for (const e of list.getEntries().filter(e => !e.hadRecentInput)) {
    window.shift += e.value;
    window.shifted.push(...e.sources.map(s => `${s.node?.id || s.node?.className || s.node?.nodeName} ${s.previousRect.y}+${s.previousRect.height} to ${s.currentRect.y}+${s.currentRect.height}`));
  }
}).observe({ type: 'layout-shift', buffered: true });
"""
SETTLED = """async () => {
  await document.fonts.ready;
  for (let before = -1; before !== performance.getEntriesByType('resource').length;) {
    before = performance.getEntriesByType('resource').length;
    await new Promise(done => setTimeout(done, 60));
  }
}"""
# WCAG 2.2 AA: targets of 24 px, or as far from their neighbours.
AXE = {"rules": {"target-size": {"enabled": True}}}


# Every text and label a person reads, without what is data, code or a name in its own language.
TEXTS = """() => {
  const skip = 'script, noscript, style, template, code, .mono, #log-v, .diff, textarea, [lang=en], .brand';
  const found = [document.title];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) if (!n.parentElement.closest(skip)) found.push(n.data);
  const labels = ['placeholder', 'aria-label', 'title', 'data-confirm', 'data-confirm-body', 'data-confirm-ok'];
  for (const e of document.querySelectorAll(labels.map(a => `[${a}]`).join())) for (const a of labels) found.push(e.getAttribute(a) ?? '');
  for (const e of document.querySelector('#t-i18n').content.children) found.push(e.textContent);
  return found.map(t => t.trim().replace(/\\s+/g, ' ')).filter(Boolean);
}"""
PRODUCT = "Terraform Proxmox Manager"
ENGLISH = re.compile(r"\b[A-Za-z]{2,}(?:,? [A-Za-z]{2,})+\b")
# Names, examples and units that are the same in every language.
SAME = re.compile(r"Proxmox Manager|Proxmox VE|Rocky Linux|web staging|BEGIN CERTIFICATE|Terraform")


def english(page: Page) -> list[str]:
    """Return what is written in English on a page that is to be Korean."""
    texts = [text.replace(PRODUCT, "") for text in page.evaluate(TEXTS)]
    return sorted({text for text in texts if any(not SAME.search(found) for found in ENGLISH.findall(text))})


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options=AXE).response["violations"]
    return [f"{v['id']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found]


# Charts follow the window a moment later.
WIDE = """async () => {
  for (let i = 0; i < 60 && document.documentElement.scrollWidth > innerWidth; i++) await new Promise(requestAnimationFrame);
  const wide = [...document.querySelectorAll('main p, main dd, main li')].filter(e => e.innerText?.length > 120 && e.getBoundingClientRect().width > 1600);
  return { sideways: document.documentElement.scrollWidth > innerWidth, lines: wide.map(e => e.innerText.slice(0, 60)) };
}"""


@pytest.mark.parametrize(("theme", "width", "far", "language"), [("light", 1440, 3840, "en"), ("dark", 390, 320, "ko")])
def test_every_page_is_free_of_axe_violations_of_sideways_scrolling_of_layout_that_moves_and_of_the_other_language(
    open_browser: NewContext, base_url: str, stack: Stack, paths: list[str], theme: str, width: int, far: int, language: str
) -> None:
    """Each page is opened once and looked at in every way; then at the widest or the narrowest there is."""
    context = open_browser(viewport={"width": width, "height": 844}, locale=language, reduced_motion="reduce")
    context.add_cookies([{"name": "theme", "value": theme, "url": base_url}, {"name": "language", "value": language, "url": base_url}])
    context.add_init_script(SHIFTS)
    asked: set[str] = set()
    context.on("request", lambda request: asked.add(request.url))
    page = context.new_page()
    faults = []
    for path in paths:
        live(page, path)
        page.evaluate(SETTLED)
        if (shift := page.evaluate("window.shift")) > SLIGHT:
            faults.append(f"{path} moves by {shift:.3f}: {page.evaluate('window.shifted')[:3]}")
        faults += [f"{path} {fault}" for fault in violations(page)]
        if language == "ko" and not path.startswith("/palette"):
            faults += [f"{path} in English: {text}" for text in english(page)]
        for at in (width, far):
            page.set_viewport_size({"width": at, "height": 844})
            found = page.evaluate(WIDE)
            faults += [f"{path} scrolls sideways at {at}"] if found["sideways"] else []
            faults += [f"{path} at {at}: a line as wide as the screen: {line}" for line in found["lines"]]
        page.set_viewport_size({"width": width, "height": 844})
    assert not faults, "\n".join(faults)
    assert not {url for url in asked if not url.startswith((f"{base_url}/", "data:"))}
    assert not csp_reports(stack)
    _check_assets(context, {url for url in asked if "/static/" in url})


def _check_assets(context: BrowserContext, urls: set[str]) -> None:
    """What pages load is named by its content, kept for ever, and sent small."""
    assert len(urls) > 5
    for url in sorted(urls):
        answer = context.request.get(url)
        headers = answer.headers
        assert re.search(r"[-.][0-9A-Za-z]{8}\.\w+$", url), url
        assert "immutable" in headers["cache-control"], url
        small = url.endswith(".woff2") or len(answer.body()) < 500
        assert small or headers.get("content-encoding") in ("br", "gzip"), url
    assert context.request.get("/servers").headers.get("content-encoding") == "gzip"


def test_open_menus_and_dialogs_have_no_axe_violation(open_browser: NewContext, a_server: tuple[str, int]) -> None:
    page = open_browser(reduced_motion="reduce").new_page()
    live(page, f"/servers?q={a_server[0]}")
    page.get_by_role("button", name="Notifications").click()
    page.locator("#bell .notes").wait_for()
    assert not violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name=f"Actions for {a_server[0]}").click()
    page.get_by_role("menuitem", name="Delete").click()
    assert not violations(page)


def test_what_opens_and_what_is_refused_holds_no_english_sentence_in_korean(open_browser: NewContext, base_url: str) -> None:
    context = open_browser(locale="ko")
    context.add_cookies([{"name": "language", "value": "ko", "url": base_url}])
    page = context.new_page()
    faults = []
    live(page, "/servers")
    page.get_by_role("button", name="알림", exact=True).click()
    page.locator("#bell .notes").wait_for()
    faults += [f"bell: {text}" for text in english(page)]
    live(page, "/servers/new")
    page.locator("#f-name").fill("Not A Name")
    page.locator("#f-disk_gib").fill("1")
    page.locator("#f-tags").fill("BAD!")
    page.locator("#go").click()
    page.locator("#msg-disk_gib.err").wait_for()
    faults += [f"faults: {text}" for text in english(page)]
    assert not faults, "\n".join(faults)


def test_korean_is_chosen_once_and_stays(open_browser: NewContext, stack: object) -> None:
    context = open_browser(storage_state=None)
    page = context.new_page()
    page.goto("/login")
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("heading", name="로그인")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    page.get_by_role("button", name="EN").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_phone_reaches_every_page_of_the_menu(open_browser: NewContext) -> None:
    page = open_browser(viewport={"width": 390, "height": 844}).new_page()
    live(page, "/servers")
    page.get_by_role("button", name="Account of admin").click()
    for name in ("Dashboard", "Networks", "Admin", "Account"):
        expect(page.locator("#me").get_by_role("link", name=name)).to_be_visible()
    page.locator("#me").get_by_role("link", name="Networks").click()
    page.wait_for_url("**/networks")


def test_what_was_opened_stays_open_when_its_part_is_refreshed(page: Page) -> None:
    live(page, "/nodes")
    page.locator("details.guests summary").click()
    with page.expect_response(lambda answer: "/nodes/_body" in answer.url, timeout=60_000):
        pass
    expect(page.locator("details.guests")).to_have_attribute("open", "")


@pytest.mark.parametrize(("system", "ground", "other"), [("dark", "rgb(17, 17, 22)", "light"), ("light", "rgb(247, 247, 249)", "dark")])
def test_a_first_visit_looks_as_the_system_does_until_somebody_switches(
    open_browser: NewContext, base_url: str, system: Literal["dark", "light"], ground: str, other: str
) -> None:
    page = open_browser(color_scheme=system).new_page()
    live(page, "/")
    expect(page.locator("body")).to_have_css("background-color", ground)
    page.get_by_role("button", name="Switch light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", other)
    expect(page.locator("body")).not_to_have_css("background-color", ground)


def test_the_theme_is_switched_and_kept(page: Page) -> None:
    live(page, "/")
    page.get_by_role("button", name="Switch light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_the_keyboard_alone_filters_and_opens_a_row_menu(page: Page, a_server: tuple[str, int]) -> None:
    live(page, "/servers")
    page.keyboard.press("/")
    page.keyboard.type(a_server[0])
    page.wait_for_url(f"**q={a_server[0]}*")
    expect(page.locator("tr[data-id]")).to_have_count(1)
    page.get_by_role("button", name=f"Actions for {a_server[0]}").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text(f"Delete {a_server[0]}?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_focus_stays_on_its_row_when_the_list_is_fetched_again(page: Page, a_server: tuple[str, int], api: Api) -> None:
    live(page, "/servers")
    button = page.get_by_role("button", name=f"Actions for {a_server[0]}")
    button.focus()
    name = fresh("newer")
    api.create(name)
    expect(page.locator(f'tr[data-name="{name}"] .st')).to_have_text("Running", timeout=60_000)
    expect(button).to_be_focused()


def test_no_key_is_lost_while_a_table_takes_the_place_of_another(page: Page, a_server: tuple[str, int]) -> None:
    live(page, "/servers")
    page.get_by_role("button", name=f"Actions for {a_server[0]}").focus()
    # The page looks at its table first, this right after it, both before the next key.
    page.evaluate("""() => { window.focused = new Promise(told => new MutationObserver(
        () => told(document.activeElement.getAttribute('aria-label'))).observe(document.querySelector('#tbl').parentNode, { childList: true })) }""")
    page.evaluate("document.querySelector('#filters').requestSubmit()")
    assert page.evaluate("window.focused") == f"Actions for {a_server[0]}"


def test_leaving_the_search_does_not_ask_again_for_what_was_found(page: Page, a_server: tuple[str, int]) -> None:
    live(page, "/servers")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#q").press_sequentially(a_server[0])
    page.wait_for_url(f"**q={a_server[0]}*")
    before = len(asked)
    page.locator("#q").press("Tab")
    page.evaluate("new Promise(requestAnimationFrame)")
    assert asked[before:] == []


def test_the_log_is_inert_text_with_links_to_lines_and_search(page: Page, a_server: tuple[str, int]) -> None:
    live(page, f"/runs/{a_server[1]}#L2")
    expect(page.locator(".l.on a")).to_have_text("2")
    page.get_by_label("Search the log").fill("apply complete")
    expect(page.locator("#log-h")).to_have_text("1/1")
    expect(page.locator("#log-v mark")).to_have_text("Apply complete")


def test_following_a_notification_marks_it_read(page: Page) -> None:
    made(page, fresh("told"))
    live(page, "/notifications?unread=1")
    first = page.locator(".notes li.new").first
    with page.expect_request("**/read"):
        first.locator("a").click()
    page.wait_for_url("**/runs/*")
