"""Notifications: found again by what they are about, chosen by kind, and sent to a webhook whose answer is seen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import fresh, live
from tests.fixtures.receivers import Hook, serving
from tests.stack import Api, Stack, eventually


@pytest.fixture
def hook(api: Api) -> Iterator[Hook]:
    api.call("PATCH", "/api/settings", {"local_destinations": 1})
    with serving(Hook()) as server:
        yield server
    api.call("PATCH", "/api/settings", {"local_destinations": 0})


def test_the_inbox_is_searched_and_narrowed(open_browser: NewContext, api: Api, stack: Stack) -> None:
    page, [name] = open_browser().new_page(), api.made(fresh("found"))
    stack.refuse_next("no space")
    bad = fresh("unlucky")
    api.wait_run(api.create(bad)["run_id"], "errored")
    stack.control("reset")
    live(page, "/notifications")
    page.locator("#q").fill(name)
    expect(page.locator("#inbox-list li")).to_have_count(1)
    page.wait_for_url(f"**q={name}*")
    page.locator("#q").fill("")
    page.get_by_role("link", name="Failures").click()
    expect(page.locator("#inbox-list li").first).to_contain_text(bad)
    page.get_by_role("button", name="Mark these read").click()
    page.wait_for_url("**/notifications")
    page.goto("/notifications?failures=1")
    expect(page.locator("#inbox-list li.new")).to_have_count(0)


def test_a_webhook_is_added_tested_and_told_of_what_happens(open_browser: NewContext, api: Api, hook: Hook) -> None:
    page = open_browser().new_page()
    live(page, "/account")
    page.get_by_role("link", name="Notification settings").first.click()
    page.get_by_label("Name").fill("ops channel")
    page.get_by_label("Address").fill("file:///etc/passwd")
    page.get_by_role("button", name="Add destination").click()
    expect(page.locator("#msg-url")).to_have_class("msg err")
    page.get_by_label("Address").fill(hook.url)
    page.get_by_role("button", name="Add destination").click()
    hook.answers = [500]
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#deliveries .st").first).to_have_text("Not delivered", timeout=20_000)
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#deliveries .st").first).to_have_text("Sent", timeout=20_000)
    [name] = api.made(fresh("hooked"))
    eventually(lambda: any(name in got["title"] for got in hook.got), 20, "the webhook was told")
    page.get_by_role("button", name="Forget").click()
    page.locator("#cf-ok").click()
    expect(page.locator("#destinations tbody tr")).to_have_count(0)


def test_a_kind_that_is_not_wanted_leaves_no_trace(open_browser: NewContext, stack: Stack) -> None:
    user, _ = stack.user(fresh("quiet"), "operator")
    answer = user.call("PUT", "/api/notification-preferences", {"preferences": {"runs_done": "none"}})
    assert answer.status == 200
    user.made(fresh("unheard"))
    assert user.get("/api/notifications")["items"] == []


def test_the_about_page_names_versions_and_licences(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    live(page, "/about")
    expect(page.locator(".facts")).to_contain_text("0.111.1")
    expect(page.get_by_role("row", name="htmx.org")).to_be_visible()
    expect(page.get_by_role("row", name="Flask 3")).to_contain_text("BSD")
