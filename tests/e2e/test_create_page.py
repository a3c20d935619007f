"""The create page: what it says before anything is made, by keyboard alone, and what survives."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import expect_state, fresh, live, sign_in
from tests.stack import Api, Stack


def opened(page: Page, query: str = "") -> None:
    live(page, f"/servers/new{query}")
    expect(page.locator("#preview .pv-on")).not_to_have_count(0)


def test_place_address_and_first_start_are_told_and_follow_the_form(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    opened(page)
    preview = page.locator("#preview")
    expect(preview).to_contain_text("best fit")
    page.get_by_label("Memory", exact=True).fill("3000")
    expect(preview).to_contain_text("of memory in all")
    page.get_by_label("Memory", exact=True).fill("2")
    page.get_by_label("Name", exact=True).fill(fresh("seen"))
    page.get_by_label("How many").fill("3")
    expect(preview).to_contain_text("of 3 go here")
    preview.get_by_text("First start (cloud-init)").click()
    expect(preview.locator("pre")).to_contain_text("gateway: 10.20.0.1")


def test_a_slider_moves_its_number_and_a_number_the_slider(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    opened(page)
    cores, slider = page.get_by_label("CPU cores", exact=True), page.get_by_role("slider", name="CPU cores, slider")
    slider.focus()
    page.keyboard.press("Home")
    expect(cores).to_have_value("1")
    for more in ("2", "3", "4", "6"):
        page.keyboard.press("ArrowRight")
        expect(cores).to_have_value(more)
    expect(page.locator("#s-total")).to_contain_text("6 cores")
    expect(slider).to_have_attribute("aria-valuetext", "6 cores")
    cores.fill("5")
    expect(slider).to_have_attribute("aria-valuetext", "5 cores")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(cores).to_have_value("6")
    # It ends at what the largest node has free, and begins at what the template needs.
    memory = page.get_by_role("slider", name="Memory, slider")
    memory.focus()
    page.keyboard.press("End")
    free = re.findall(r"(\d+) GiB memory free", page.locator(".nodes").inner_text())
    expect(page.get_by_label("Memory", exact=True)).to_have_value(max(free, key=int))
    disk = page.get_by_role("slider", name="Disk, slider")
    disk.focus()
    page.keyboard.press("Home")
    expect(page.get_by_label("Disk", exact=True)).to_have_value("8")


def test_a_template_tells_where_it_can_go_and_how_old_its_image_is(open_browser: NewContext) -> None:
    page = open_browser().new_page()
    opened(page)
    card = page.locator("#fld-template .pick").filter(has_text="rocky-9")
    expect(card).to_contain_text("7 months old")
    expect(card.locator(".old")).to_have_count(1)
    expect(page.locator("#fld-template .pick").filter(has_text="ubuntu-24.04").locator(".old")).to_have_count(0)
    expect(page.locator("#fld-template .pick").first).to_contain_text("onto")


def test_two_servers_that_differ_are_made_as_the_table_says(open_browser: NewContext, api: Api, stack: Stack) -> None:
    page, name = open_browser().new_page(), fresh("pair")
    opened(page)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("How many").fill("2")
    page.get_by_text("Names, places and sizes one by one").click()
    page.get_by_label("Name 2", exact=True).fill(f"{name}-big")
    page.get_by_label("CPU cores 2", exact=True).fill("2")
    page.get_by_label("Disk 2", exact=True).fill("30")
    page.get_by_label("VMID 2", exact=True).fill("99")
    expect(page.locator("#msg-row_vmid_1")).to_have_class("msg err")
    vmid = next(v for v in range(7000, 8999) if v not in stack.vms())
    page.get_by_label("VMID 2", exact=True).fill(str(vmid))
    expect(page.locator("#msg-row_vmid_1")).not_to_have_class("msg err")
    page.get_by_label("Node 2", exact=True).select_option("pve3")
    expect(page.locator("#s-total")).to_contain_text("3 cores · 4 GiB · 50 GiB disk")
    expect(page.locator("#s-name")).to_have_text(f"{name}-1 … {name}-big")
    page.get_by_label("IP address 2", exact=True).fill("10.99.0.1")
    expect(page.locator("#msg-row_ip_1")).to_have_class("msg err")
    page.get_by_label("IP address 2", exact=True).fill("10.20.0.201")
    expect(page.locator("#msg-row_ip_1")).not_to_have_class("msg err")
    preview = page.locator("#preview")
    preview.get_by_text("First start (cloud-init)").click()
    expect(preview.locator("pre")).to_contain_text(f"hostname: {name}-big\naddress: 10.20.0.201/22\ngateway: 10.20.0.1")
    expect(page.locator("#go")).to_have_text("Create 2 servers")
    page.locator("#go").click()
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    small, big = api.get(f"/api/servers/{name}-1"), api.get(f"/api/servers/{name}-big")
    assert (big["cores"], big["networks"][0]["ip"]) == (2, "10.20.0.201")
    assert small["cores"] == 1
    assert [s["disks"][0]["size_gib"] for s in (small, big)] == [20, 30]
    # And so it is in the cluster.
    assert (big["vmid"], big["node"]) == (vmid, "pve3")
    vm = stack.vms()[vmid]["config"]
    assert (vm["name"], int(vm["cores"])) == (f"{name}-big", 2) and "ip=10.20.0.201/22" in vm["ipconfig0"] and "size=30G" in vm["scsi0"]


def test_what_was_filled_in_survives_reload_going_away_and_an_expired_login(open_browser: NewContext, stack: Stack) -> None:
    _, password = stack.user("keeper", "developer")
    context = open_browser(storage_state=None)
    page, name = context.new_page(), fresh("kept")
    sign_in(page, "keeper", password)
    opened(page)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("How many").fill("2")
    page.get_by_text("Names, places and sizes one by one").click()
    page.get_by_label("Name 1", exact=True).fill("first-one")

    def there() -> None:
        expect(page.get_by_label("Name", exact=True)).to_have_value(name)
        expect(page.get_by_label("Name 1", exact=True)).to_have_value("first-one")

    page.reload()
    there()
    page.goto("/servers")
    page.go_back()
    there()
    context.clear_cookies()
    page.locator("#go").click()
    page.wait_for_url(re.compile("/login"))
    page.get_by_label("Username").fill("keeper")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/servers/new")
    there()


def test_what_was_refused_is_still_there_after_looking_elsewhere(open_browser: NewContext, api: Api) -> None:
    page, [name] = open_browser().new_page(), api.made(fresh("other"))
    opened(page)
    page.get_by_label("Name", exact=True).fill("Not A Name")
    page.get_by_label("How many").fill("2")
    page.get_by_text("Names, places and sizes one by one").click()
    page.get_by_label("IP address 2", exact=True).fill("1.2.3")
    page.locator("#go").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    expect(page.locator("#msg-row_ip_1")).to_contain_text("is not an IPv4 address")
    page.goto(f"/servers/new?like={name}")
    expect(page.get_by_label("How many")).to_have_value("1")
    page.goto("/servers/new")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Not A Name")
    expect(page.get_by_label("IP address 2", exact=True)).to_have_value("1.2.3")


def test_two_servers_are_made_by_keyboard_alone(open_browser: NewContext, api: Api) -> None:
    page, name = open_browser().new_page(), fresh("typed")
    opened(page)
    page.locator("[name=template]:checked").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    seen: list[str] = []
    opened_table = False
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.tagName")
        seen.append(str(focused))
        if focused == "name":
            page.keyboard.type(name)
        if focused == "count":
            page.keyboard.press("ArrowUp")
        if focused == "SUMMARY" and not opened_table:
            page.keyboard.press("Enter")
            opened_table = True
        if focused == "row_name_1":
            page.keyboard.type(f"{name}-own")
        if focused == "go":
            break
    # Numbers and the sliders below them, one after the other.
    assert seen.count("INPUT") == 3
    order = [f for f in seen if f in ("preset", "cores", "memory_gib", "disk_gib", "name", "count", "row_name_1", "node", "network", "ip_mode", "username", "tags", "go")]
    assert order == ["preset", "cores", "memory_gib", "disk_gib", "name", "count", "row_name_1", "node", "network", "ip_mode", "username", "tags", "go"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    assert api.get(f"/api/servers/{name}-own")["status"] == api.get(f"/api/servers/{name}-1")["status"] == "running"


def test_another_like_this_opens_with_its_values(open_browser: NewContext, api: Api) -> None:
    page, [name] = open_browser().new_page(), api.made(f"{fresh('model')}-a", cores=2, tags=["copied"])
    live(page, f"/servers/{name}")
    page.get_by_role("link", name="Another like this").click()
    page.wait_for_url("**/servers/new?like=*")
    expect(page.get_by_label("Name", exact=True)).to_have_value(f"{name}-2")
    expect(page.get_by_label("CPU cores", exact=True)).to_have_value("2")
    expect(page.get_by_label("Tags")).to_have_value("copied")
