"""A restored copy as people see it: the banner on a phone and on a screen, and the button that lets runs go on."""

from playwright.sync_api import Page, expect

from tests.e2e.pages import answer, live
from tests.e2e.test_look import violations
from tests.stack import Stack, eventually


def test_an_administrator_reads_that_runs_are_paused_and_lets_them_go_on(page: Page, stack: Stack) -> None:
    stack.sql_write("insert into setting (key, value) values ('runs_paused', '{}')")
    try:
        live(page, "/runs")
        banner = page.get_by_role("region", name="Runs are paused")
        expect(banner).to_contain_text("Nothing is made, changed or deleted in Proxmox until runs go on.")
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            expect(banner.get_by_role("button", name="Let runs go on")).to_be_in_viewport(ratio=1)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                assert not violations(page), (width, scheme)
        banner.get_by_role("button", name="Let runs go on").click()
        answer(page)
        expect(banner).to_have_count(0)
        eventually(lambda: not stack.sql("select 1 from setting where key = 'runs_paused'"), what="runs go on")
    finally:
        stack.sql_write("delete from setting where key = 'runs_paused'")
