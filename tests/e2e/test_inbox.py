"""The bell and the inbox: many notifications, and every tab in step."""

from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import fresh, live, made, sign_in
from tests.stack import Stack

MANY = 300


def _many(stack: Stack, username: str) -> None:
    stack.sql(f"""
        insert into notification (user_id, event_key, code, args, severity, link, own)
        select u.id, 'test-' || n, 'run_applied', jsonb_build_object('servers', jsonb_build_array('web-' || n)), 'success', '/runs', true
        from "user" u, generate_series(1, {MANY}) n where u.username = '{username}'; commit""")


def test_three_hundred_unread_are_counted_paged_and_read_at_once_in_every_tab(open_browser: NewContext, stack: Stack) -> None:
    _, password = stack.user("popular", "developer")
    _many(stack, "popular")
    context = open_browser(storage_state=None)
    page, other = context.new_page(), context.new_page()
    sign_in(page, "popular", password)
    live(other, "/servers")
    live(page, "/notifications")
    for tab in (page, other):
        expect(tab.locator("#unread")).to_have_text("99+")
    expect(page.locator(".notes li")).to_have_count(50)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator(".notes li").first).to_contain_text("web-250")
    page.get_by_role("button", name="Mark all read").click()
    expect(page.locator(".head")).to_contain_text("0 unread")
    for tab in (page, other):
        expect(tab.locator("#unread")).to_be_hidden()


def test_the_bell_marks_all_read_without_leaving_the_page(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    made(page, fresh("rung"))
    live(page, "/templates")
    page.get_by_role("button", name="Notifications").click()
    page.locator("#bell").get_by_role("button", name="Mark all read").click()
    expect(page.locator(".toast-x")).to_contain_text("All notifications are read")
    expect(page.locator("#unread")).to_be_hidden()
    assert page.url.endswith("/templates")


def test_the_open_inbox_shows_what_comes(open_browser: NewContext) -> None:
    context = open_browser()
    inbox = live(context.new_page(), "/notifications")
    name = fresh("news")
    made(context.new_page(), name)
    expect(inbox.locator(".notes li", has_text=name)).to_be_visible()
