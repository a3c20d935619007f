"""The command palette and the list of keys, by keyboard alone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import live


def chosen(page: Page) -> Locator:
    return page.locator("#pal-list [aria-selected=true]")


def opened(page: Page) -> None:
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Find and jump")).to_be_focused()
    expect(chosen(page)).to_be_visible()


def test_a_few_letters_and_enter_lead_to_a_server(page: Page, a_server: tuple[str, int]) -> None:
    live(page, "/networks")
    opened(page)
    page.keyboard.type(a_server[0][:-1])
    expect(chosen(page)).to_contain_text(a_server[0][:-1])
    page.keyboard.type(a_server[0][-1])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/servers/{a_server[0]}")


def test_arrows_choose_and_escape_gives_the_focus_back(page: Page) -> None:
    live(page, "/runs")
    button = page.get_by_role("button", name="Find and jump")
    button.focus()
    page.keyboard.press("Enter")
    expect(chosen(page)).to_contain_text("Create server")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    last = chosen(page)
    expect(last).to_contain_text("Settings")
    expect(page.locator("#pal-q")).to_have_attribute("aria-activedescendant", last.get_attribute("id") or "")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_a_server_is_switched_from_anywhere_after_a_question(page: Page, a_server: tuple[str, int]) -> None:
    live(page, "/nodes")
    opened(page)
    page.keyboard.type(f"reboot {a_server[0]}")
    expect(chosen(page)).to_contain_text(f"Reboot: {a_server[0]}")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Reboot").click()
    expect(page.locator(".toast-x").first).to_contain_text(a_server[0])


def test_a_question_mark_lists_the_keys_and_is_a_letter_where_one_types(page: Page) -> None:
    live(page, "/servers")
    page.locator("#q").press("?")
    expect(page.locator("#keys")).not_to_be_visible()
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#keys")).not_to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_the_open_palette_has_nothing_for_axe_to_find(open_browser: NewContext, base_url: str, theme: str, width: int) -> None:
    context = open_browser(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    context.add_cookies([{"name": "theme", "value": theme, "url": base_url}])
    page = context.new_page()
    live(page, "/")
    opened(page)
    assert Axe().run(page).response["violations"] == []
