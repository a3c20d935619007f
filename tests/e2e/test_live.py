"""From the form to a running server, live, in every tab and for the right people only."""

from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import answer, create, expect_state, fresh, live, made
from tests.stack import Stack


def test_a_server_is_made_and_every_tab_follows_without_a_reload(open_browser: NewContext) -> None:
    context = open_browser()
    page, other = context.new_page(), context.new_page()
    live(other, "/servers")
    other.evaluate("window.neverReloaded = true")
    name = fresh("web")
    create(page, name)
    page.evaluate("window.neverReloaded = true")
    expect(other.locator(f'tr[data-name="{name}"]')).to_be_visible()
    expect_state(page, "Applied")
    expect(other.locator(f'tr[data-name="{name}"] .st')).to_have_text("Running")
    for tab in (page, other):
        expect(tab.locator(".toast-x", has_text=name)).to_be_visible()
        assert tab.evaluate("window.neverReloaded")
    expect(page.locator("#log-v .l").last).to_contain_text("Apply complete")
    expect(page.locator("#run-plan .res")).to_have_count(1)
    expect(page.locator("#unread")).to_be_visible()


def test_tabs_of_one_browser_share_one_connection(open_browser: NewContext) -> None:
    context = open_browser()
    for _ in range(8):  # more than the six connections a browser opens to one host
        live(context.new_page(), "/runs")


def test_without_a_shared_worker_one_tab_leads_and_the_next_takes_over(open_browser: NewContext) -> None:
    context = open_browser()
    context.add_init_script("delete window.SharedWorker")
    one, two = context.new_page(), context.new_page()
    live(one, "/servers")
    live(two, "/servers")
    assert one.evaluate("document.documentElement.dataset.stream") == "leader"
    one.close()
    name = fresh("led")
    create(context.new_page(), name)
    expect(two.locator(f'tr[data-name="{name}"] .st')).to_have_text("Running", timeout=90_000)


def test_a_developer_does_not_see_what_belongs_to_others(open_browser: NewContext, developer_state: Path) -> None:
    theirs = live(open_browser(storage_state=developer_state).new_page(), "/servers")
    mine = open_browser().new_page()
    name = fresh("secret")
    run = made(mine, name)
    expect(theirs.get_by_text(name)).to_have_count(0)
    expect(theirs.locator(".toast-x")).to_have_count(0)
    for path in (f"/servers/{name}", f"/runs/{run}"):
        answer_ = theirs.goto(path)
        assert answer_ is not None and answer_.status == 404


def test_a_plan_is_applied_only_after_it_was_approved(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    create(page, fresh("asked"), ask_first=True)
    expect_state(page, "Needs confirmation")
    page.get_by_label("Comment").fill("looks <b>right</b>")
    page.get_by_role("button", name="Apply plan").click()
    expect_state(page, "Applied")
    expect(page.locator("#run-timeline")).to_contain_text("looks <b>right</b>")


def test_a_discarded_plan_makes_nothing(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    name = fresh("dropped")
    create(page, name, ask_first=True)
    expect_state(page, "Needs confirmation")
    page.get_by_label("Comment").fill("not this week")
    page.get_by_role("button", name="Discard").click()
    expect_state(page, "Discarded")
    expect(page.locator("#run-timeline")).to_contain_text("not this week")
    live(page, f"/servers?q={name}")
    expect(page.get_by_text("No server matches")).to_be_visible()


def test_a_run_can_be_cancelled_also_when_it_moves_on_while_the_question_is_open(open_browser: NewContext, stack: Stack) -> None:
    stack.control("time", clone_seconds=4)
    try:
        page = open_browser().new_page()
        create(page, fresh("stopped"), count=12)
        page.get_by_role("button", name="Cancel run").click()
        expect_state(page, "Applying")
        answer(page)
        expect(page.locator("#run-head .rhead .st")).to_have_text("Canceled", timeout=90_000)
    finally:
        stack.control("reset")


def test_a_server_is_resized_and_its_page_says_beforehand_that_it_restarts(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    name = fresh("grown")
    made(page, name)
    live(page, f"/servers/{name}")
    expect(page.locator("#resize")).to_contain_text("restarts this server")
    page.locator("#resize").get_by_label("CPU cores").fill("2")
    page.get_by_role("button", name="Resize server").click()
    answer(page)
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    expect(page.locator("#run-plan")).to_contain_text("cores")


def test_power_is_switched_from_the_list_and_the_row_follows(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    name = fresh("switched")
    made(page, name)
    live(page, f"/servers?q={name}")
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Stop").click()
    answer(page)
    row = page.locator(f'tr[data-name="{name}"] .st')
    expect(row).to_have_text("Stopped", timeout=30_000)
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Start").click()
    expect(row).to_have_text("Running", timeout=30_000)


def test_a_server_is_deleted_only_by_its_typed_name(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    name = fresh("gone")
    made(page, name)
    live(page, f"/servers?q={name}")
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.locator("#cf-ok")).to_be_disabled()
    page.locator("#cf-i").fill(name[:-1])
    expect(page.locator("#cf-ok")).to_be_disabled()
    answer(page, name)
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    live(page, f"/servers?q={name}")
    expect(page.get_by_text("No server matches")).to_be_visible()


def test_the_typed_name_on_the_servers_own_page_is_checked_by_the_server(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    name = fresh("named")
    made(page, name)
    live(page, f"/servers/{name}")
    page.locator("#delete").get_by_label(f"Type {name} to confirm").fill("something else")
    page.locator("#delete").get_by_role("button", name="Delete server").click()
    expect(page.locator("#msg-confirm")).to_contain_text(name)
    expect(page.locator("#delete input[aria-invalid=true]")).to_be_focused()
