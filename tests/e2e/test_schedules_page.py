"""Work that starts by itself, from its form to its history, with beat and workers that really run."""

from playwright.sync_api import Page, expect

from tests.e2e.pages import answer, fresh, live
from tests.stack import Api, eventually


def fill(page: Page, name: str, work: str, servers: str) -> None:
    live(page, "/schedules/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Work", exact=True).select_option(label=work)
    page.get_by_label("Servers", exact=True).fill(servers)


def test_a_server_is_switched_off_in_a_while_and_its_history_tells_live(page: Page, api: Api) -> None:
    [name] = api.made(fresh("tired"))
    fill(page, "Off for the night", "Shut down", name)
    page.get_by_role("radio", name="In a while").check()
    page.get_by_label("How long").fill("1")
    expect(page.locator("#times li")).to_have_count(1)
    page.get_by_role("button", name="Schedule work").click()
    expect(page.get_by_role("heading", name="Off for the night")).to_be_visible()
    page.locator("#live[data-s=live]").wait_for()
    page.get_by_role("button", name="Run now").click()
    page.locator("#live[data-s=live]").wait_for()
    row = page.get_by_role("group", name="History").locator("tbody tr").first
    expect(row).to_contain_text("Done", timeout=30_000)
    expect(row).to_contain_text("by hand")
    eventually(lambda: api.get(f"/api/servers/{name}")["status"] == "stopped", what="it is switched off")
    row.get_by_role("link", name="Result").click()
    expect(page.locator("#bulk-result")).to_contain_text("1 done")


def test_what_is_due_starts_by_itself_while_somebody_looks(page: Page, api: Api) -> None:
    [name] = api.made(fresh("early"))
    made = api.post("/api/schedules", {"name": "By itself", "kind": "in", "in_s": 4, "work": {"action": "reboot", "servers": [name]}})
    assert made.status == 201, made.text
    live(page, f"/schedules/{made.json['id']}")
    expect(page.get_by_text("It has not started yet")).to_be_visible()
    expect(page.locator("tbody tr").first).to_contain_text("Done", timeout=30_000)
    expect(page.get_by_text("never again").first).to_be_visible()
    [once] = api.get(f"/api/schedules/{made.json['id']}/executions")["items"]
    assert once["status"] == "succeeded" and api.get(f"/api/result/{once['task_id']}")["servers"] == [name]


def test_the_form_shows_what_its_choices_need_and_says_what_is_wrong(page: Page, api: Api, a_server: tuple[str, int]) -> None:
    fill(page, "Weekly", "Make snapshot", f"{a_server[0]} none-such")
    expect(page.get_by_label("How many are kept")).to_be_visible()
    expect(page.get_by_label("Date and time")).to_be_visible()
    page.get_by_role("radio", name="By cron").check()
    expect(page.get_by_label("Date and time")).to_be_hidden()
    page.get_by_label("cron", exact=True).fill("0 18 * * FRI")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.locator("#times li")).to_have_count(5)
    expect(page.locator("#times li").first).to_contain_text("18:00 CE")
    page.get_by_role("button", name="Schedule work").click()
    expect(page.locator("#msg-names.err")).to_contain_text("none-such")
    page.get_by_label("Servers", exact=True).fill(a_server[0])
    page.get_by_label("cron", exact=True).fill("61 * * * *")
    page.get_by_role("button", name="Schedule work").click()
    expect(page.locator("#msg-cron.err")).to_be_visible()
    page.get_by_label("cron", exact=True).fill("0 18 * * FRI")
    page.get_by_role("button", name="Schedule work").click()
    expect(page.get_by_text("the newest 7 stay")).to_be_visible()


def test_work_on_many_is_put_off_and_a_schedule_is_paused_and_deleted(page: Page, api: Api) -> None:
    [name] = api.made(fresh("later"))
    live(page, f"/servers?q={name}")
    page.get_by_label(f"Select {name}").check()
    page.locator("#bulk").get_by_role("button", name="More").click()
    page.locator("#bulk-more").get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Later…").click()
    expect(page.get_by_label("Servers", exact=True)).to_have_value(name)
    page.get_by_label("Name", exact=True).fill("Away on Friday")
    page.get_by_role("radio", name="By cron").check()
    page.get_by_label("cron", exact=True).fill("0 18 * * FRI")
    page.get_by_role("button", name="Schedule work").click()
    expect(page.locator("#msg-confirm.err")).to_contain_text("delete 1")
    page.get_by_label("to confirm").fill("delete 1")
    page.get_by_role("button", name="Schedule work").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    answer(page)
    page.wait_for_url("**/schedules")
    expect(page.get_by_text("Away on Friday")).to_have_count(0)
    assert api.get(f"/api/servers/{name}")["name"] == name
