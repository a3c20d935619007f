"""Work on many servers: selected across pages and filters, asked about on one page, told of one by one."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import fresh, live
from tests.stack import Api, Stack

END_MS = 60_000


def chosen(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_label(f"Select {name}").check()


def ask(page: Page, action: str) -> None:
    page.locator("#bulk").get_by_role("button", name=action).click()
    page.wait_for_url("**/servers/bulk")


def test_what_is_selected_under_several_filters_is_tagged_in_one_go(open_browser: NewContext, api: Api) -> None:
    page, one, two = open_browser().new_page(), fresh("pick"), fresh("pock")
    api.made(one)
    api.made(two, count=2)
    live(page, f"/servers?q={one}")
    chosen(page, one)
    live(page, f"/servers?q={two}")
    chosen(page, f"{two}-1", f"{two}-2")
    expect(page.locator("#bulk-n")).to_have_text("3 selected")
    page.reload()
    expect(page.locator("#bulk-n")).to_have_text("3 selected")
    expect(page.get_by_label(f"Select {two}-2")).to_be_checked()
    ask(page, "Change tags")
    expect(page.get_by_role("heading", level=1)).to_have_text("Change tags: 3 servers")
    page.get_by_label("Tags to add").fill("Not A Tag!")
    page.get_by_role("button", name="Change tags: 3 servers").click()
    expect(page.locator("#msg-add")).to_have_class("msg err")
    page.get_by_label("Tags to add").fill("picked")
    page.get_by_role("button", name="Change tags: 3 servers").click()
    page.wait_for_url("**/servers/bulk/*")
    expect(page.locator("#bulk-result .bulk-sum")).to_contain_text("3 done", timeout=END_MS)
    expect(page.locator("#bulk-result .st")).to_have_text(["Applied"] * 3)
    live(page, "/servers?tag=picked")
    expect(page.locator("tr[data-id]")).to_have_count(3)
    expect(page.locator("#bulk")).to_be_hidden()


def test_power_says_who_is_left_out_and_the_row_follows(open_browser: NewContext, api: Api) -> None:
    page, word = open_browser().new_page(), fresh("halted")
    on, off = api.made(word, count=2)
    api.call("POST", f"/api/servers/{off}/stop")
    live(page, f"/servers?q={word}")
    expect(page.locator(f'tr[data-name="{off}"] .st')).to_have_text("Stopped", timeout=END_MS)
    chosen(page, on, off)
    ask(page, "Start")
    expect(page.get_by_role("heading", name="Left out: 1")).to_be_visible()
    page.get_by_role("button", name="Start: 1 server").click()
    page.wait_for_url("**/servers/bulk/*")
    expect(page.locator("#bulk-result .st")).to_have_text("Done", timeout=END_MS)
    live(page, f"/servers?q={word}")
    expect(page.locator(f'tr[data-name="{off}"] .st')).to_have_text("Running")


def test_deletion_lists_the_disks_and_is_typed(open_browser: NewContext, api: Api) -> None:
    page, word = open_browser().new_page(), fresh("doomed")
    names = api.made(word, count=2)
    live(page, f"/servers?q={word}")
    page.get_by_label("Select all").check()
    page.locator("#bulk").get_by_role("button", name="More").click()
    page.locator("#bulk-more").get_by_role("button", name="Delete").click()
    expect(page.locator("main")).to_contain_text("GiB · ")
    page.get_by_label("Type delete 2 to confirm").fill("delete 3")
    page.get_by_role("button", name="Delete: 2 servers").click()
    expect(page.locator("#msg-confirm")).to_have_class("msg err")
    page.get_by_label("Type delete 2 to confirm").fill("delete 2")
    page.get_by_role("button", name="Delete: 2 servers").click()
    page.wait_for_url("**/servers/bulk/*")
    expect(page.locator("#bulk-result .bulk-sum")).to_contain_text("2 done", timeout=END_MS)
    assert all(api.call("GET", f"/api/servers/{name}").status == 404 for name in names)


def test_all_that_fit_are_selected_beyond_the_page(open_browser: NewContext, api: Api, stack: Stack) -> None:
    page, word = open_browser().new_page(), fresh("crowd")
    [name] = api.made(word)
    other = "jsonb_build_object('id', 900000 + n, 'name', name || '-' || n, 'slug', slug || '-' || n, 'vmid', 9000 + n, 'in_state', false)"
    copy = f"select (jsonb_populate_record(s, to_jsonb(s) || {other})).* from server s, generate_series(1, 60) n where name = '{name}'"  # noqa: S608 - a test's own words
    stack.sql_write(f"insert into server {copy}")  # noqa: S608
    try:
        live(page, f"/servers?q={word}")
        page.get_by_label("Select all").check()
        expect(page.locator("#bulk-n")).to_have_text("50 selected")
        page.get_by_role("button", name="Select all 61").click()
        expect(page.locator("#bulk-n")).to_have_text("61 selected")
        ask(page, "Reboot")
        expect(page.get_by_role("heading", level=1)).to_have_text("Reboot: 1 server")
        expect(page.get_by_role("heading", name="Left out: 60")).to_be_visible()
    finally:
        stack.sql_write(f"delete from server where name like '{name}-%'")  # noqa: S608
