"""One server's page: its curves, its disks and networks, and what Terraform has of it."""

from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import answer, expect_state, fresh, live
from tests.stack import Api


def test_usage_comes_after_the_page_and_its_time_frame_is_chosen_without_a_reload(open_browser: NewContext, a_server: tuple[str, int]) -> None:
    page = open_browser().new_page()
    live(page, f"/servers/{a_server[0]}")
    usage = page.locator("#usage")
    expect(usage.locator("figure")).to_have_count(4)
    usage.get_by_role("link", name="Week").click()
    expect(usage.locator('[aria-current="true"]')).to_have_text("Week")
    expect(usage.locator(".plot canvas, .plot .none")).to_have_count(4)
    assert page.url.endswith(a_server[0])


def test_a_disk_and_a_network_are_added_and_the_disk_is_removed_by_its_typed_name(open_browser: NewContext, api: Api) -> None:
    page, [name] = open_browser().new_page(), api.made(fresh("devices"))
    live(page, f"/servers/{name}")
    devices = page.locator("#devices")
    devices.get_by_label("New disk").fill("0")
    devices.get_by_role("button", name="Add disk").click()
    expect(page.locator("#msg-new_disk_gib")).to_have_class("msg err")
    page.get_by_label("New disk").fill("3")
    page.get_by_role("button", name="Add disk").click()
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    live(page, f"/servers/{name}")
    page.get_by_role("button", name="Add network").click()
    answer(page)
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    assert len(api.get(f"/api/servers/{name}")["networks"]) == 2
    live(page, f"/servers/{name}")
    page.get_by_label("Remove disk scsi1").click()
    page.get_by_label("Type scsi1 to confirm").fill("scsi0")
    page.get_by_role("button", name="Remove disk").click()
    expect(page.locator("#msg-confirm_scsi1")).to_have_class("msg err")
    page.get_by_label("Type scsi1 to confirm").fill("scsi1")
    page.get_by_role("button", name="Remove disk").click()
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    live(page, f"/servers/{name}")
    expect(page.locator(".devs li")).to_have_count(3)  # the boot disk and two networks


def test_the_terraform_resource_unfolds_on_the_page(open_browser: NewContext, a_server: tuple[str, int]) -> None:
    page = open_browser().new_page()
    live(page, f"/servers/{a_server[0]}")
    page.get_by_role("link", name="Show resource and state versions").click()
    expect(page.locator("#tf-json")).to_contain_text(f'"name": "{a_server[0]}"')
    expect(page.locator("#terraform")).to_contain_text("Version")
