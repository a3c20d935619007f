"""Snapshots on a server's page: made, gone back to and deleted, live, with a question before anything is lost."""

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import answer, fresh, live
from tests.stack import Api


def opened(page: Page, name: str) -> Page:
    live(page, f"/servers/{name}")
    expect(page.locator("#snapshots .snap-new")).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator("#snapshots tr", has_text=name)


def test_a_snapshot_is_made_gone_back_to_and_deleted_without_a_reload(open_browser: NewContext, api: Api) -> None:
    name = api.made(fresh("snap"), disks=[{"size_gib": 10, "storage": "ceph"}])[0]
    page = open_browser().new_page()
    opened(page, name)
    expect(page.locator("#snapshots")).to_contain_text("None yet")
    page.locator("#snapshots").get_by_label("Name").fill("before")
    page.locator("#snapshots").get_by_label("Description").fill("as it was")
    page.get_by_role("button", name="Make snapshot").click()
    page.wait_for_url(f"**/servers/{name}#snapshots")
    expect(row(page, "before")).to_contain_text("as it was", timeout=30_000)
    expect(row(page, "you are here")).to_be_visible()

    api.wait_run(api.change(name, cores=2)["run_id"], "applied")
    opened(page, name)
    expect(page.get_by_label("CPU cores")).to_have_value("2")
    row(page, "before").get_by_role("button", name="Roll back").click()
    expect(page.locator("#cf-b")).to_contain_text("stays stopped, since the snapshot has no memory")
    page.locator("#confirm").get_by_role("button", name="Keep it").click()
    assert api.get(f"/api/servers/{name}")["busy"] is False
    row(page, "before").get_by_role("button", name="Roll back").click()
    answer(page)
    expect(page.locator("#server-head .st")).to_have_text("Stopped", timeout=30_000)
    expect(page.get_by_label("CPU cores")).to_have_value("1")
    expect(page.locator("#history")).to_contain_text("Roll back: before")

    page.get_by_role("button", name="Delete snapshot before").click()
    answer(page)
    expect(page.locator("#snapshots")).to_contain_text("None yet", timeout=30_000)
    assert page.evaluate("window.neverReloaded")


def test_a_bad_name_keeps_what_was_typed_and_a_stopped_server_has_no_memory_to_keep(open_browser: NewContext, api: Api) -> None:
    name = api.made(fresh("typed"), start=False)[0]
    page = open_browser().new_page()
    opened(page, name)
    expect(page.get_by_label("Keep the memory too")).to_have_count(0)
    page.locator("#snapshots").get_by_label("Name").fill("1st")
    page.locator("#snapshots").get_by_label("Description").fill("mine")
    page.get_by_role("button", name="Make snapshot").click()
    expect(page.locator("#msg-snapshot_name")).to_contain_text("a letter first")
    expect(page.locator("#snapshots").get_by_label("Description")).to_have_value("mine")


def test_without_scripts_a_page_asks_before_the_server_goes_back(open_browser: NewContext, api: Api) -> None:
    name = api.made(fresh("plain"), disks=[{"size_gib": 10, "storage": "ceph"}])[0]
    api.wait_task(api.post(f"/api/servers/{name}/snapshots", {"name": "warm", "memory": True}).json["task_id"])
    page = open_browser(java_script_enabled=False).new_page()
    page.goto(f"/servers/{name}")
    page.get_by_role("link", name="Show snapshots").click()
    row(page, "warm").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", name=f"Put {name} back to warm?")).to_be_visible()
    expect(page.locator("main")).to_contain_text("goes on running as it was in that moment")
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_url(f"**/servers/{name}#snapshots")
    expect(page.locator("#history")).to_contain_text("Roll back: warm")
