"""What a person sees and presses while a run works, hangs, is cancelled, and after it failed."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import NewContext
from tests.e2e.pages import RUN_TIMEOUT_MS, answer, create, expect_state, fresh, live, made
from tests.stack import Stack


def test_each_clone_shows_how_far_it_is_and_a_cancel_says_what_it_finishes(open_browser: NewContext, stack: Stack) -> None:
    stack.control("time", clone_seconds=8)
    try:
        page = open_browser().new_page()
        name = fresh("copied")
        create(page, name, 2)
        page.evaluate("window.neverReloaded = true")
        lines = page.locator("#run-head .doing li")
        expect(lines).to_have_count(2, timeout=60_000)
        expect(lines.first).to_contain_text(re.compile(rf"{name}-1\s*clone\s*\d+ %"), timeout=30_000)
        assert page.evaluate("window.neverReloaded")
        page.get_by_role("button", name="Cancel run").click()
        answer(page)
        expect(page.locator("#run-head .note.warn")).to_contain_text(re.compile(rf"Finishing {name}-1 \(clone \d+ %\), {name}-2"))
        expect_state(page, "Applied")
        expect(lines).to_have_count(0)
    finally:
        stack.control("reset")


def test_a_batch_of_which_one_failed_is_finished_with_one_button(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    name = fresh("batch")
    stack.refuse_next("cluster not ready")
    try:
        create(page, name, 3)
        expect_state(page, "Failed")
    finally:
        stack.control("reset")
    page.locator("#run-head .fail").get_by_role("button", name="Try again").click()
    expect(page.locator("#run-timeline")).to_contain_text("Asked for again after", timeout=RUN_TIMEOUT_MS)
    expect_state(page, "Applied")
    expect(page.locator("#run-plan .res")).to_have_count(1)
    live(page, "/servers?q=" + name)
    expect(page.locator(f'tr[data-name^="{name}"] .st')).to_have_text(["Running"] * 3)


def test_a_former_state_is_rolled_back_from_the_workspaces_page(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    name = fresh("rolled")
    made(page, name)
    api = stack.api()
    api.wait_run(api.change(name, description="second")["run_id"], "applied")
    page.reload()
    page.locator("#run-head .meta a.link").click()
    page.get_by_role("button", name="Roll back to serial 1").click()
    expect(page.locator("#cf-ok")).to_have_text("Roll back")
    answer(page)
    page.wait_for_url("**/runs/*")
    expect_state(page, "No changes")
    expect(page.locator("#run-timeline")).to_contain_text("The state was rolled back")


def test_a_server_that_is_gone_from_proxmox_is_only_forgotten(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    name = fresh("gone")
    made(page, name)
    api = stack.api()
    stack.control("delete", vmid=api.get(f"/api/servers/{name}")["vmid"])
    live(page, f"/servers/{name}")
    expect(page.locator("main .st").first).to_have_text("Unknown", timeout=60_000)
    page.reload()
    page.get_by_label(f"Type {name} to confirm").fill(name)
    page.get_by_label("Only forget it").check()
    page.get_by_role("button", name="Delete server").click()
    page.wait_for_url("**/runs/*")
    expect_state(page, "No changes")
    live(page, "/servers")
    expect(page.locator(f'tr[data-name="{name}"]')).to_have_count(0)


def test_a_full_storage_is_explained_and_the_form_opens_where_another_is_chosen(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    name = fresh("full")
    stack.refuse_next("clone failed: unable to write to storage 'nfs': No space left on device")
    try:
        create(page, name)
        expect_state(page, "Failed")
    finally:
        stack.control("reset")
    card = page.locator("#run-head .fail")
    expect(card.get_by_role("heading")).to_have_text("There is no room left on the storage for this disk.")
    card.get_by_role("link", name="Choose another storage").click()
    page.wait_for_url(re.compile(r"/servers/new\?again=\d+&other=storage#fld-storage"))
    expect(page.get_by_label("Storage", exact=True)).not_to_have_value("nfs")
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)


def test_a_failure_that_nobody_knows_is_shown_in_terraforms_own_words(open_browser: NewContext, stack: Stack) -> None:
    page = open_browser().new_page()
    name = fresh("odd")
    stack.refuse_next("the pot is empty", 418)
    try:
        create(page, name)
        expect_state(page, "Failed")
    finally:
        stack.control("reset")
    card = page.locator("#run-head .fail")
    expect(card).to_contain_text("Terraform reported an error")
    expect(card).to_contain_text("received an HTTP 418 response - Reason: the pot is empty")
    expect(page.get_by_role("button", name="Try again")).to_have_count(1)
    card.get_by_role("button", name="Try again").click()
    expect(page.locator("#run-timeline")).to_contain_text("Asked for again after", timeout=RUN_TIMEOUT_MS)
    expect_state(page, "Applied")
