"""A safe change in the browser: asked for on the server's page, followed part by part, decided before its time is over."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import answer, fresh, live
from tests.stack import Api


def asked(page: Page, name: str, cores: str, port: str = "", within: str = "60") -> Page:
    """Ask for a safe change by the form, with the agent as witness or a port; leaves the page that follows it."""
    live(page, f"/servers/{name}")
    page.locator("#resize").get_by_label("CPU cores").fill(cores)
    page.locator("#resize details.safe summary").click()
    page.locator("#resize").get_by_label("Make it a safe change").check()
    page.locator("#resize").get_by_label("Within").fill(within)
    if port:
        page.locator("#resize").get_by_label("What is to answer").select_option("port")
        page.locator("#resize").get_by_label("Port", exact=True).fill(port)
    page.locator("#resize").get_by_role("button", name="Resize server").click()
    answer(page)
    page.wait_for_url("**/safe_changes/*")
    page.evaluate("window.neverReloaded = true")
    return page


def test_a_safe_change_is_followed_to_its_good_end_without_a_reload(open_browser: NewContext, api: Api) -> None:
    [name] = api.made(fresh("safe"), disks=[{"size_gib": 10, "storage": "ceph"}])
    page = asked(open_browser().new_page(), name, "2")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Safe change of {name}")
    expect(page.locator("#safe-change header .st")).to_have_text("Kept", timeout=60_000)
    rows = page.locator("#safe-change tbody tr")
    expect(rows).to_have_count(4)
    for row in rows.all():
        expect(row).to_contain_text("Done")
    assert page.evaluate("window.neverReloaded")
    page.locator("#safe-change dl").get_by_role("link", name=name).click()
    expect(page.locator("#history")).to_contain_text("Safe change")
    expect(page.get_by_label("CPU cores")).to_have_value("2")


def test_while_it_waits_for_an_answer_the_server_is_held_and_a_person_may_put_it_back(open_browser: NewContext, api: Api) -> None:
    # Its first address is this machine's, where nobody listens on that port; and there is so much time that a person decides.
    loopback = {"name": fresh("lo"), "bridge": "vmbr0", "cidr": "127.89.0.0/24", "range_low": "127.89.0.10", "range_high": "127.89.0.20"}
    assert api.post("/api/networks", loopback).status == 201
    [name] = api.made(fresh("held"), disks=[{"size_gib": 10, "storage": "ceph"}], networks=[{"network": loopback["name"]}, {"network": "servers"}])
    context = open_browser()
    page = asked(context.new_page(), name, "2", port="9", within="1800")
    back = page.get_by_role("button", name="Put back now")
    expect(back).to_be_visible(timeout=60_000)
    expect(page.locator("#safe-change")).to_contain_text("does not answer", timeout=60_000)
    other = context.new_page()
    live(other, f"/servers/{name}")
    expect(other.locator("#server-head")).to_contain_text("A safe change is under way")
    expect(other.get_by_role("button", name="Reboot")).to_be_disabled()
    other.close()
    back.click()
    answer(page)
    expect(page.locator("#safe-change header .st")).to_have_text("Taken back", timeout=60_000)
    expect(page.locator("#safe-change")).to_contain_text("admin had it put back.")
    assert api.get(f"/api/servers/{name}")["cores"] == 1 and page.evaluate("window.neverReloaded")


def test_what_is_wrong_stands_at_its_field_and_the_form_stays_open(open_browser: NewContext, api: Api) -> None:
    [name] = api.made(fresh("wrong"), disks=[{"size_gib": 10, "storage": "ceph"}])
    page = open_browser().new_page()
    live(page, f"/servers/{name}")
    form = page.locator("#resize")
    form.get_by_label("CPU cores").fill("2")
    form.locator("details.safe summary").click()
    form.get_by_label("Make it a safe change").check()
    form.get_by_label("Within").fill("3")
    form.get_by_role("button", name="Resize server").click()
    answer(page)
    expect(page.locator("#fld-timeout_s")).to_have_class("fld bad")
    expect(page.locator("#resize details.safe")).to_have_attribute("open", "")
    assert api.get(f"/api/servers/{name}")["busy"] is False
