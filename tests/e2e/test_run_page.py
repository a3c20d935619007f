"""The run page: steps, the log with fifty thousand lines, its levels and permalinks; on paper and without scripts."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import create, expect_state, fresh, live
from tests.stack import Api, Stack

LINES = 50_000
BAD = 49_000  # where an error stands, with two lines that belong to it


@pytest.fixture(scope="module")
def long_run(api: Api, stack: Stack) -> Iterator[int]:
    """An applied run with a log of fifty thousand lines, in pieces as a runner writes them."""
    [name] = api.made(fresh("longlog"))
    run = int(api.get(f"/api/servers/{name}")["run_id"])
    error = "'12:00:00  Error: storage is full' || chr(10) || '  on node pve1' || chr(10) || '  twice'"
    line = f"case when n = {BAD} then {error} when n % 1000 = 7 then '12:00:00  Warning: w' || n else '12:00:00  web-1: line ' || n || ' of many, still creating' end"
    stack.sql_write(f"""
        delete from run_log where run_id = {run};
        with piece as (
            select p, string_agg({line} || chr(10), '' order by n) as text from generate_series(0, 499) p, generate_series(p * 100 + 1, p * 100 + 100) n group by p
        ), sized as (
            select p, text, octet_length(text) as bytes, length(text) - length(replace(text, chr(10), '')) as lines from piece
        )
        insert into run_log (run_id, fence, phase, start, raw_length, log_offset, length, first_line, text)
        select {run}, 1, 'apply-1', p, 1, coalesce(sum(bytes) over w, 0), bytes, 1 + coalesce(sum(lines) over w, 0), text
        from sized window w as (order by p rows between unbounded preceding and 1 preceding);
        update run set log_bytes = (select sum(length) from run_log where run_id = {run}), log_lines = {LINES + 2}, version = version + 1 where id = {run}
    """)  # noqa: S608 - a test's own words
    yield run


def loaded(page: Page, run: int, hash_: str = "") -> None:
    live(page, f"/runs/{run}{hash_}")
    expect(page.locator("#log-n")).to_have_text(re.compile(r"50.002"), timeout=20_000)


def test_fifty_thousand_lines_are_there_and_few_of_them_on_the_page(open_browser: NewContext, long_run: int) -> None:
    page = open_browser().new_page()
    loaded(page, long_run)
    assert page.locator("#log-pad .l").count() < 120
    page.locator("#log-v").evaluate("v => { v.scrollTop = v.scrollHeight / 2; }")
    expect(page.locator("#log-pad .l a", has_text="25001").first).to_be_visible()


def test_a_permalink_opens_at_its_line_and_shift_makes_a_range(open_browser: NewContext, long_run: int) -> None:
    page = open_browser().new_page()
    loaded(page, long_run, "#L30007")
    marked = page.locator("#log-pad .l.on")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("Warning: w30007")
    page.locator('#log-pad a[href="#L30010"]').click(modifiers=["Shift"])
    expect(marked).to_have_count(4)
    assert page.url.endswith("#L30007-L30010")
    page.reload()
    expect(marked).to_have_count(4)


def test_levels_leave_errors_with_what_belongs_to_them(open_browser: NewContext, long_run: int) -> None:
    page = open_browser().new_page()
    loaded(page, long_run)
    page.get_by_label("Level").select_option("Errors")
    expect(page.locator("#log-pad .l")).to_have_text([f"{BAD}12:00:00  Error: storage is full", f"{BAD + 1}  on node pve1", f"{BAD + 2}  twice"])
    page.get_by_label("Level").select_option("Warnings and errors")
    expect(page.locator("#log-n")).to_have_text("53/50,002")
    page.locator("#log-q").fill("w30007")
    expect(page.locator("#log-h")).to_have_text("1/1")
    expect(page.locator("#log-pad mark")).to_have_text("w30007")


def test_wrapped_lines_keep_their_order_and_the_switch_is_remembered(open_browser: NewContext, long_run: int) -> None:
    page = open_browser(viewport={"width": 390, "height": 844}).new_page()
    loaded(page, long_run)
    page.get_by_label("Wrap").check()
    expect(page.locator("#log")).to_have_attribute("data-wrap", "")
    page.locator("#log-v").evaluate("v => { v.scrollTop = 0; }")
    first = page.locator("#log-pad .l").first
    expect(first).to_contain_text("line 1 of many")
    boxes = [row.bounding_box() for row in page.locator("#log-pad .l").all()[:6]]
    for above, below in zip(boxes, boxes[1:], strict=False):
        assert above and below and above["height"] > 20 and abs(above["y"] + above["height"] - below["y"]) < 1
    assert page.locator("#log-v").evaluate("v => v.scrollWidth <= v.clientWidth")
    page.reload()
    expect(page.locator("#log")).to_have_attribute("data-wrap", "")


def test_the_log_can_be_kept_as_a_file(open_browser: NewContext, long_run: int) -> None:
    page = open_browser().new_page()
    live(page, f"/runs/{long_run}")
    with page.expect_download() as found:
        page.get_by_label("Download the log").click()
    assert found.value.suggested_filename == f"run-{long_run}.log"
    text = found.value.path().read_text()
    assert text.count("\n") == LINES + 2 and "line 49999 of many" in text


def test_on_paper_there_is_the_end_of_the_log_and_no_button(open_browser: NewContext, long_run: int) -> None:
    page = open_browser().new_page()
    loaded(page, long_run)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#log-pad .l").count() == 3000
    expect(page.locator("#log-pad .l").last).to_contain_text("line 50000 of many")
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    expect(page.locator("#log-q")).to_be_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator("#log-pad .l")).not_to_have_count(3000)


def test_the_steps_are_timed_and_a_batch_shows_each_server(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    stack.control("time", clone_seconds=8, scale=0.4)
    try:
        create(page, fresh("steps"), count=2)
        expect(page.locator(".run-steps .s-now")).to_contain_text("Applying", timeout=30_000)
        expect(page.get_by_role("list", name="Servers of this run").locator("li")).to_have_count(2)
        expect(page.locator(".doing .p-working").first).to_be_visible()
        expect(page.locator(".run-steps .s-now b")).to_have_text(re.compile(r"0:0[2-9]"), timeout=15_000)
    finally:
        stack.control("reset")
    expect_state(page, "Applied")
    expect(page.locator(".run-steps .s-done")).to_have_count(3)


def test_without_scripts_the_log_is_a_text_and_a_plan_is_decided(open_browser: NewContext, api: Api, long_run: int) -> None:
    page = open_browser(java_script_enabled=False).new_page()
    page.goto(f"/runs/{long_run}")
    page.get_by_role("link", name="Read the log as text").click()
    expect(page.locator("pre")).to_contain_text("line 50000 of many")
    [name] = api.made(fresh("unscripted"))
    run = api.delete(name, apply="confirm")["run_id"]
    api.wait_run(run, "planned")
    page.goto(f"/runs/{run}")
    page.get_by_label(f"Type {name} to confirm").fill(name)
    page.get_by_role("button", name="Apply plan").click()
    api.wait_run(run, "applied")


def test_actions_have_a_list_of_their_own(open_browser: NewContext, api: Api) -> None:
    page, [name] = open_browser().new_page(), api.made(fresh("acted"))
    live(page, "/runs")
    page.get_by_role("navigation", name="Kind of work").get_by_role("link", name="Actions").click()
    page.wait_for_url("**/actions")
    page.locator("#live[data-s=live]").wait_for()
    page.locator("#q").fill(name[2:])
    expect(page.get_by_text("No action matches")).to_be_visible()
    api.post(f"/api/servers/{name}/stop")
    expect(page.locator("#actions tbody tr")).to_have_count(1, timeout=15_000)
    expect(page.locator("#actions .st")).to_have_text("Done", timeout=30_000)
