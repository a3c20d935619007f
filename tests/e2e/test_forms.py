"""Forms: what is wrong is said at the field, while typing and again on the server."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import expect_state, fresh, live
from tests.stack import Api


def test_a_bad_name_is_told_while_typing_and_the_batch_previews_its_names(page: Page) -> None:
    live(page, "/servers/new")
    name = page.get_by_label("Name", exact=True)
    name.fill("Bad_Name")
    expect(page.locator("#msg-name")).to_contain_text("lowercase letters")
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("shop")
    page.get_by_label("How many").fill("3")
    expect(page.locator("#s-name")).to_have_text("shop-1 … shop-3")
    expect(page.locator("#go")).to_have_text("Create 3 servers")
    expect(page.locator("#msg-name.err")).to_have_count(0)


def test_an_address_is_checked_against_its_network(page: Page, api: Api) -> None:
    gateway = next(n["gateway"] for n in api.get("/api/networks")["items"] if n["is_default"])
    live(page, "/servers/new")
    page.get_by_label("Name", exact=True).fill(fresh("addr"))
    page.get_by_label("Chosen").check()
    address = page.get_by_label("Address", exact=True)
    for typed, said in ((gateway, "gateway"), ("192.168.7.7", "not in"), ("10.10.0", "IPv4")):
        address.fill(typed)
        expect(page.locator("#msg-ip")).to_contain_text(said)


def test_a_form_with_faults_comes_back_with_its_input_and_the_first_fault_focused(page: Page) -> None:
    live(page, "/servers/new")
    page.get_by_label("Name", exact=True).fill("-")
    page.get_by_label("Disk", exact=True).fill("1")
    page.get_by_label("Description").fill("<script>alert(1)</script> ${x}")
    page.locator("#go").click()
    expect(page.locator("#msg-disk_gib.err")).to_be_visible()
    expect(page.locator("#msg-name.err")).to_be_visible()
    expect(page.locator("[aria-invalid=true]").first).to_be_focused()
    expect(page.get_by_label("Description")).to_have_value("<script>alert(1)</script> ${x}")


def test_a_preset_fills_the_numbers_and_typing_a_number_leaves_it(page: Page) -> None:
    live(page, "/servers/new")
    page.locator("label.pick", has_text="large").first.click()
    expect(page.get_by_label("CPU cores", exact=True)).to_have_value("4")
    page.get_by_label("CPU cores", exact=True).fill("3")
    expect(page.locator("[name=preset][value='']")).to_be_checked()


def test_a_server_gets_a_second_disk_on_a_chosen_storage(page: Page) -> None:
    live(page, "/servers/new")
    name = fresh("twin")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Storage", exact=True).select_option("nfs")
    page.get_by_label("Second disk").fill("0")
    expect(page.locator("#msg-disk2_gib.err")).to_be_visible()
    page.get_by_label("Second disk").fill("50")
    expect(page.locator("#s-size")).to_contain_text("+ 50 GiB disk")
    page.locator("#go").click()
    page.wait_for_url("**/runs/*")
    expect_state(page, "Applied")
    live(page, f"/servers/{name}")
    expect(page.locator("aside.facts")).to_contain_text("50 GiB · nfs")


def test_the_create_form_works_without_scripts(open_browser: NewContext) -> None:
    page = open_browser(java_script_enabled=False).new_page()
    page.goto("/servers/new")
    page.get_by_label("Name", exact=True).fill("Not A Name")
    page.locator("#go").click()
    expect(page.locator("#msg-name.err")).to_be_visible()
    page.get_by_label("Name", exact=True).fill(fresh("plain"))
    page.locator("#go").click()
    page.wait_for_url("**/runs/*")


def test_a_network_is_added_changed_and_deleted(page: Page) -> None:
    name = fresh("lab")
    live(page, "/networks/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Bridge").fill("vmbr1")
    page.get_by_label("VLAN").fill("5000")
    expect(page.locator("#msg-vlan.err")).to_be_visible()
    page.get_by_label("VLAN").fill("77")
    page.get_by_label("Addresses", exact=True).fill("10.77.0.0/24")
    page.get_by_label("Gateway").fill("10.77.0.1")
    page.get_by_role("button", name="Save network").click()
    page.wait_for_url("**/networks")
    expect(page.get_by_role("row", name=name)).to_contain_text("10.77.0.0/24")
    page.get_by_role("button", name=f"Delete {name}").click()
    page.locator("#cf-ok").click()
    expect(page.get_by_role("row", name=name)).to_have_count(0)


def test_test_connection_says_in_words_what_is_wrong(page: Page) -> None:
    live(page, "/admin/clusters/new")
    page.get_by_label("Name", exact=True).fill(fresh("wrong"))
    page.get_by_label("Endpoint").fill("https://127.0.0.1:1")
    page.get_by_label("Token ID or user").fill("tpm@pve!manager")
    page.get_by_label("Token secret or password").fill("secret")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#test-result")).to_contain_text("refuses the connection")


def test_an_api_token_is_shown_once(page: Page) -> None:
    live(page, "/account")
    page.get_by_label("Name of a new token").fill("ci")
    page.get_by_role("button", name="Make token").click()
    expect(page.locator("#token")).to_contain_text("tpm_")
    live(page, "/account")
    expect(page.locator("#token")).to_have_count(0)
