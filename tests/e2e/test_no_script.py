"""Without JavaScript every page can be read and every form works."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import fresh
from tests.site import pages
from tests.stack import Api, Stack, eventually

END_S = 60


@pytest.fixture
def plain(open_browser: NewContext) -> Iterator[Page]:
    """A page of a browser without scripts, signed in."""
    yield open_browser(java_script_enabled=False).new_page()


def ended(page: Page, api: Api, state: str = "applied") -> int:
    """Wait for the run whose page is open, and look at it again."""
    page.wait_for_url("**/runs/*")
    run = int(page.url.rpartition("/")[2])
    api.wait_run(run, state)
    page.reload()
    return run


def settled(api: Api, name: str, status: str) -> None:
    """Wait until the server has that status and nothing works on it."""
    eventually(lambda: (s := api.get(f"/api/servers/{name}"))["status"] == status and not s.get("busy_action"), END_S, f"{name} {status}")


def test_every_page_can_be_read(plain: Page, stack: Stack, lived: str) -> None:
    for at in pages(stack.sql):
        answer = plain.goto(at.path)
        assert answer is not None and answer.status == 200, at.path
        if "<!doctype" not in answer.text()[:20]:
            continue  # a part that a script fetches
        main = plain.locator("main")
        expect(main.get_by_role("heading", level=1).first).to_be_visible()
        # What only a script would fill in says nothing at all, or says where to look.
        words = main.inner_text()
        assert len(words) > 30, at.path
        assert "Loading…" not in words, at.path


def test_somebody_signs_in_and_out(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser(java_script_enabled=False, storage_state=None).new_page()
    _, password = stack.user("plainly", "developer")
    page.goto("/servers")
    page.get_by_label("Username").fill("plainly")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Username or password is wrong.")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/servers")
    page.get_by_role("button", name="Account of plainly").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")


def test_a_server_is_made_approved_changed_switched_and_deleted(plain: Page, api: Api) -> None:
    name = fresh("scriptless")
    plain.goto("/servers/new")
    plain.get_by_label("Name", exact=True).fill("Not A Name")
    plain.locator("#go").click()
    expect(plain.locator("#msg-name.err")).to_be_visible()
    plain.get_by_label("Name", exact=True).fill(name)
    plain.get_by_label("Ask me before applying").check()
    plain.locator("#go").click()
    run = ended(plain, api, "planned")
    plain.get_by_label("Comment").fill("by hand")
    plain.get_by_role("button", name="Apply plan").click()
    api.wait_run(run, "applied")
    plain.goto(f"/runs/{run}")
    expect(plain.locator("main")).to_contain_text("by hand")

    plain.goto(f"/servers/{name}")
    plain.locator("#details").get_by_label("Tags").fill("quiet")
    plain.locator("#details").get_by_role("button", name="Save changes").click()
    ended(plain, api)
    plain.goto(f"/servers/{name}")
    plain.get_by_role("button", name="Stop", exact=True).click()
    settled(api, name, "stopped")
    plain.goto(f"/servers/{name}")
    plain.get_by_role("button", name="Start", exact=True).click()
    settled(api, name, "running")

    plain.goto(f"/servers?q={name}")
    expect(plain.get_by_role("row", name=re.compile(name))).to_contain_text("Running")
    plain.goto(f"/servers/{name}")
    eventually(lambda: api.get(f"/api/servers/{name}")["status"] == "running", END_S)
    plain.locator("#delete").get_by_role("textbox").fill(name)
    plain.locator("#delete").get_by_role("button", name="Delete server").click()
    ended(plain, api)
    assert api.call("GET", f"/api/servers/{name}").status == 404


def test_many_servers_are_chosen_and_asked_about(plain: Page, api: Api) -> None:
    word = fresh("heap")
    names = api.made(word, count=2)
    plain.goto(f"/servers?q={word}")
    for name in names:
        plain.get_by_label(f"Select {name}").check()
    plain.get_by_role("button", name="Reboot", exact=True).click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("Reboot: 2 servers")
    plain.get_by_role("button", name="Reboot: 2 servers").click()
    plain.wait_for_url("**/servers/bulk/*")
    for name in names:
        settled(api, name, "running")


def test_theme_language_filters_and_a_network(plain: Page) -> None:
    plain.goto("/servers")
    plain.get_by_role("button", name="Switch light and dark").click()
    expect(plain.locator("html")).to_have_attribute("data-bs-theme", re.compile("dark|light"))
    plain.get_by_role("button", name="한국어").click()
    expect(plain.locator("html")).to_have_attribute("lang", "ko")
    plain.get_by_role("button", name="EN", exact=True).click()
    expect(plain.locator("html")).to_have_attribute("lang", "en")
    plain.locator("#q").fill("none-such")
    plain.get_by_role("button", name="Filter", exact=True).click()
    expect(plain.get_by_text("No server matches")).to_be_visible()
    name = fresh("plain")
    plain.goto("/networks/new")
    plain.get_by_label("Name", exact=True).fill(name)
    plain.get_by_label("Bridge").fill("vmbr1")
    plain.get_by_label("VLAN").fill("78")
    plain.get_by_label("Addresses", exact=True).fill("10.78.0.0/24")
    plain.get_by_role("button", name="Save network").click()
    plain.wait_for_url("**/networks")
    row = plain.get_by_role("row", name=re.compile(name))
    expect(row).to_contain_text("10.78.0.0/24")
    row.get_by_role("button", name=f"Delete {name}").click()
    expect(plain.get_by_role("row", name=re.compile(name))).to_have_count(0)
