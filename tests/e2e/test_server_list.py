"""The server list: order, groups, columns and kept views without a reload, all of it in the address."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import fresh, live
from tests.stack import Api


def names(page: Page) -> list[str]:
    return [str(row.get_attribute("data-name")) for row in page.locator("tr[data-id]").all()]


def test_a_click_on_a_head_sorts_and_another_turns_it_round(page: Page, api: Api) -> None:
    word = fresh("order")
    api.made(word, count=3)
    live(page, f"/servers?q={word}")
    made = [f"{word}-{n}" for n in (1, 2, 3)]
    assert names(page) == made
    head = page.get_by_role("columnheader", name="Name")
    head.get_by_role("link").click()
    page.wait_for_url("**sort=-name*")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert names(page) == made[::-1]
    # What is typed afterwards keeps the order.
    page.locator("#q").fill(f"{word}-")
    page.wait_for_url(f"**q={word}-&*")
    expect(page.locator("tr[data-id]").first).to_have_attribute("data-name", made[-1])
    page.go_back()
    page.wait_for_url(re.compile(f"q={word}&"))


def test_groups_and_columns_come_and_go_and_are_remembered(open_browser: NewContext, api: Api) -> None:
    word = fresh("columns")
    [name] = api.made(word, tags=["seen-here"])
    page = open_browser().new_page()
    live(page, f"/servers?q={word}")
    page.get_by_role("button", name="Columns", exact=True).click()
    panel = page.get_by_role("group", name="Columns").first
    panel.get_by_label("Tags").check()
    expect(page.get_by_role("columnheader", name="Tags")).to_be_visible()
    panel.get_by_label("Owner").uncheck()
    expect(page.get_by_role("columnheader", name="Owner")).to_have_count(0)
    panel.get_by_label("Group by").select_option("tag")
    expect(page.locator(".grp")).to_have_text("seen-here")
    page.keyboard.press("Escape")
    live(page, f"/servers?q={word}")
    expect(page.get_by_role("columnheader", name="Tags")).to_be_visible()
    expect(page.locator(f'tr[data-name="{name}"] .tag')).to_have_text("seen-here")


def test_a_filter_shows_as_a_chip_that_takes_it_back(page: Page, api: Api) -> None:
    word = fresh("chip")
    api.made(word, tags=[word])
    live(page, "/servers")
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Tag", exact=True).select_option(word)
    page.wait_for_url(f"**tag={word}*")
    expect(page.locator("tr[data-id]")).to_have_count(1)
    page.keyboard.press("Escape")
    page.get_by_role("link", name=f"Without Tag {word}").click()
    page.wait_for_url(lambda address: "tag=" not in address)


def test_a_view_is_kept_opened_and_forgotten(page: Page, api: Api) -> None:
    word = fresh("view")
    api.made(word)
    live(page, "/servers")
    page.locator("#q").fill(word)
    page.wait_for_url(f"**q={word}*")
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Keep what is shown as").fill(f"My {word}")
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.locator(".toast-x").first).to_contain_text("The view is kept.")
    live(page, "/servers")
    page.get_by_role("button", name="Views").click()
    page.get_by_role("link", name=f"My {word}").click()
    page.wait_for_url(f"**/servers?q={word}*")
    expect(page.locator("tr[data-id]")).to_have_count(1)
    page.get_by_role("button", name="Views").click()
    page.locator(".view", has_text=f"My {word}").get_by_role("button", name="Forget").click()
    page.wait_for_url("**/servers")
    page.get_by_role("button", name="Views").click()
    expect(page.get_by_role("link", name=f"My {word}")).to_have_count(0)
