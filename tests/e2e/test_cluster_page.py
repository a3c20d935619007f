"""The cluster page follows what happens, and stays whole while Proxmox is slow; the map shows a server that was just made."""

from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import fresh, live
from tests.stack import Api, Stack


def test_tasks_come_after_the_page_and_follow_what_is_done(open_browser: NewContext, api: Api) -> None:
    page, [name] = open_browser().new_page(), api.made(fresh("tasked"))
    live(page, "/nodes")
    tasks = page.locator("[id^=tasks-]").first
    expect(tasks.locator("tbody tr").first).to_be_visible()
    api.post(f"/api/servers/{name}/reboot")
    expect(tasks.locator("tr", has_text="Reboot").filter(has_text=name).filter(has_text="from here")).not_to_have_count(0, timeout=20_000)
    tasks.locator("tr", has_text=name).get_by_role("link", name="Reboot").first.click()
    expect(page.locator("pre")).to_be_visible()


def test_a_slow_proxmox_leaves_the_page_whole(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    stack.control("network", latency=3.0)
    try:
        page.goto("/nodes")
        expect(page.locator("#nodes .node").first).to_be_visible(timeout=2_000)
        expect(page.locator("[id^=tasks-]").first).to_contain_text("Show tasks")
    finally:
        stack.control("reset")


def test_a_new_server_takes_its_place_on_the_map(open_browser: NewContext, api: Api) -> None:
    page = open_browser().new_page()
    [net] = [n for n in api.get("/api/networks")["items"] if n["name"] == "servers"]
    live(page, f"/networks/{net['id']}/map")
    [name] = api.made(fresh("mapped"))
    ip = api.get(f"/api/servers/{name}")["ip_addresses"][0]
    cell = page.locator(f'a.cell[title="{ip} · used · {name}"]')
    expect(cell).to_be_visible(timeout=15_000)
    cell.click()
    page.wait_for_url(f"**/servers/{name}")
