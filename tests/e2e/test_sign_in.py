"""Signing in and out in a browser."""

from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import live, sign_in
from tests.stack import Stack


def test_a_wrong_password_says_so_and_keeps_the_name(open_browser: NewContext) -> None:
    page = open_browser(storage_state=None).new_page()
    page.goto("/login")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("not-this-one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Username or password is wrong.")
    expect(page.get_by_label("Username")).to_have_value("admin")


def test_signing_out_sends_the_other_tabs_to_the_sign_in_page(open_browser: NewContext, stack: Stack) -> None:
    _, password = stack.user("leaver", "viewer")
    context = open_browser(storage_state=None)
    one, two = context.new_page(), context.new_page()
    sign_in(one, "leaver", password)
    live(two, "/runs")
    one.bring_to_front()
    one.get_by_role("button", name="Account of leaver").click()
    one.get_by_role("button", name="Sign out").click()
    one.wait_for_url("**/login")
    two.wait_for_url("**/login?**")


def test_the_first_password_is_to_be_changed_but_need_not(open_browser: NewContext, stack: Stack) -> None:
    _, password = stack.user("newcomer", "developer")
    page = open_browser(storage_state=None).new_page()
    sign_in(page, "newcomer", password)
    hint = page.get_by_text("You still use the password you were given.")
    expect(hint).to_be_visible()
    page.get_by_role("link", name="Choose your own").click()
    page.get_by_label("Present password").fill("wrong")
    page.get_by_label("New password").fill("short")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator("#msg-old_password.err")).to_be_visible()
    page.get_by_label("Present password").fill(password)
    page.get_by_label("New password").fill("a long one of my own")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".toast-x")).to_contain_text("Password is changed")
    page.goto("/")
    expect(hint).to_have_count(0)


def test_input_survives_a_session_that_ends_in_the_middle_of_a_form(open_browser: NewContext, stack: Stack) -> None:
    _, password = stack.user("typist", "developer")
    context = open_browser(storage_state=None)
    page = context.new_page()
    sign_in(page, "typist", password)
    page.goto("/servers/new")
    page.get_by_label("Name", exact=True).fill("kept")
    page.get_by_label("Description").fill("typed before the session ended")
    context.clear_cookies()
    page.locator("#go").click()
    page.wait_for_url("**/login?next=/servers/new")
    page.get_by_label("Username").fill("typist")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/servers/new")
    expect(page.get_by_label("Name", exact=True)).to_have_value("kept")
    expect(page.get_by_label("Description")).to_have_value("typed before the session ended")


def test_somebody_without_the_role_gets_a_page_that_names_the_permission(open_browser: NewContext, developer_state: Path) -> None:
    page = open_browser(storage_state=developer_state).new_page()
    page.goto("/admin/users")
    expect(page.get_by_role("alert")).to_contain_text("manage_users")
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
