"""What the tests do in pages, in one word each."""

import itertools
import secrets

from playwright.sync_api import Page, expect

RUN_TIMEOUT_MS = 90_000
_numbers = itertools.count(1)


def fresh(word: str) -> str:
    """Return a name that no other test uses."""
    return f"{word}-{secrets.token_hex(2)}{next(_numbers)}"


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/login")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


def live(page: Page, path: str) -> Page:
    """Open a page and wait until its stream is up."""
    page.goto(path)
    page.locator("#live[data-s=live]").wait_for()
    return page


def create(page: Page, name: str, count: int = 1, ask_first: bool = False) -> int:
    """Fill in the form and send it; returns the run's number."""
    live(page, "/servers/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("How many").fill(str(count))
    if ask_first:
        page.get_by_label("Ask me before applying").check()
    page.locator("#go").click()
    page.wait_for_url("**/runs/*")
    page.locator("#live[data-s=live]").wait_for()
    return int(page.url.rpartition("/")[2])


def expect_state(page: Page, text: str) -> None:
    """Wait until the run's head says so, without a reload."""
    expect(page.locator("#run-head .rhead .st")).to_have_text(text, timeout=RUN_TIMEOUT_MS)


def made(page: Page, name: str, count: int = 1) -> int:
    run = create(page, name, count)
    expect_state(page, "Applied")
    return run


def answer(page: Page, typed: str = "") -> None:
    """Answer the dialog with yes, typing the name when it asks for one."""
    if typed:
        page.locator("#cf-i").fill(typed)
    page.locator("#cf-ok").click()
