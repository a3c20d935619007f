"""What people see when something is wrong, and that nothing they typed is lost."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import create, expect_state, fresh, live
from tests.stack import Stack

NASTY = """<img src=x onerror="alert(1)"> "quoted" 'single' ${x} {{ 7*7 }} %{if} 한글 </textarea><script>alert(2)</script>"""


@contextmanager
def without_redis(stack: Stack) -> Iterator[None]:
    """Redis holds every request, as a stopped process or a lost network does."""
    pid = stack.info["pids"]["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_form_sent_while_redis_is_down_is_kept_and_can_be_sent_again(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    live(page, "/servers/new")
    name = fresh("kept")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Description").fill(NASTY)
    with without_redis(stack):
        page.locator("#go").click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was changed, and your input is kept")
    page.get_by_role("button", name="Send again").click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_role("heading", name=f"Create {name}")).to_be_visible()


def test_input_is_there_when_somebody_goes_back_to_the_form_after_a_503(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    live(page, "/networks/new")
    name = fresh("lab")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Bridge").fill("vmbr1")
    with without_redis(stack):
        page.get_by_role("button", name="Save network").click()
        expect(page.get_by_role("alert")).to_contain_text("503")
    page.goto("/networks/new")
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)
    expect(page.get_by_label("Bridge")).to_have_value("vmbr1")


def test_a_failed_runs_card_tells_cause_hint_and_line_and_the_form_can_be_had_again(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    name = fresh("refused")
    stack.refuse_next("cluster not ready")
    try:
        create(page, name)
        expect_state(page, "Failed")
    finally:
        stack.control("reset")
    card = page.locator("#run-head .fail")
    expect(card.get_by_role("heading")).to_have_text("Proxmox refused: cluster not ready.")
    expect(card).to_contain_text("Read the task log in Proxmox")
    card.get_by_role("link", name=re.compile(r"See line \d+")).click()
    expect(page.locator("#log-v .l.on")).to_contain_text("Error:")
    page.get_by_role("link", name="Change and create").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)


def test_free_text_is_shown_as_it_was_typed_and_does_nothing(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    page.on("dialog", lambda dialog: (_ for _ in ()).throw(AssertionError(dialog.message)))
    live(page, "/servers/new")
    name = fresh("inert")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Description").fill(NASTY)
    page.get_by_label("Ask me before applying").check()
    page.locator("#go").click()
    page.wait_for_url("**/runs/*")
    expect_state(page, "Needs confirmation")
    page.get_by_label("Comment").fill(NASTY)
    page.get_by_role("button", name="Apply plan").click()
    expect_state(page, "Applied")
    expect(page.locator("#run-timeline")).to_contain_text(NASTY)
    run = page.url
    live(page, f"/servers/{name}")
    expect(page.locator("#details").get_by_label("Description")).to_have_value(NASTY)
    for path in (run, f"/servers/{name}", f"/admin/audit?q={name}", "/notifications", "/runs"):
        live(page, path)
        assert page.locator("img, main script").count() == 0, path


def test_what_others_make_never_reaches_a_strangers_browser(open_browser: NewContext, stack: Stack) -> None:
    """Somebody else's stream carries nothing of it: what comes next in theirs is their own."""
    _, password = stack.user("stranger", "developer")
    theirs = _signed_in(open_browser, "stranger", password)
    theirs.evaluate("""() => {
      window.neverReloaded = true;
      window.seen = '';
      new MutationObserver(() => { window.seen += document.body.textContent; }).observe(document.body, { childList: true, subtree: true, characterData: true });
    }""")
    mine = open_browser().new_page()
    secret, own = fresh("hidden"), fresh("own")
    create(mine, secret)
    expect_state(mine, "Applied")
    create(theirs.context.new_page(), own)
    expect(theirs.locator(".toast-x", has_text=own)).to_be_visible(timeout=90_000)
    expect(theirs.locator(f'tr[data-name="{own}"] .st')).to_have_text("Running")
    assert theirs.evaluate("window.neverReloaded")
    assert secret not in theirs.evaluate("window.seen + document.body.textContent")


def _signed_in(open_browser: NewContext, username: str, password: str) -> Page:
    page = open_browser(storage_state=None).new_page()
    page.goto("/login")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    return live(page, "/servers")
