"""The command palette: what a few letters find, for whom, and what may be done from there."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.server_status import ServerStatus
from app.models import Server, User
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]
Client = Any


def found(client: Client, words: str) -> dict[str, list[str]]:
    """Return the labels of what was found, by group."""
    page = client.get("/palette", query_string={"q": words})
    assert page.status_code == 200
    out: dict[str, list[str]] = {}
    for part in re.split(r'(?=<div role="group")', page.text):
        if title := re.match(r'<div role="group" aria-label="([^"]+)"', part):
            out[title[1]] = re.findall(r"<b>([^<]*)</b>", part)
    return out


def test_servers_are_found_by_a_part_of_their_name_those_that_begin_with_it_first(client_for: Make, dora: User) -> None:
    for name in ("my-web", "web-10", "web-2", "db"):
        rows.workspace(dora, name)
    assert found(client_for(dora, "cookie"), "web")["Servers"] == ["web-2", "web-10", "my-web"]


def test_a_server_is_found_by_its_vmid_and_a_run_by_its_number_or_its_server(client_for: Make, dora: User) -> None:
    workspace = rows.workspace(dora, "web")
    run = rows.run(workspace, dora)
    client = client_for(dora, "cookie")
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(vmid=4711))
    assert found(client, "4711")["Servers"] == ["web"]
    assert found(client, f"#{run.id}")["Runs"] == found(client, "we")["Runs"] == ["Change web"]


def test_nobody_finds_what_he_may_not_see_nor_pages_he_may_not_open(client_for: Make, make_user: Make, dora: User) -> None:
    run = rows.run(rows.workspace(dora, "secret"), dora)
    stranger = client_for(make_user("developer"), "cookie")
    assert found(stranger, "secret") == found(stranger, f"#{run.id}") == {}
    assert found(stranger, "settings") == {}
    assert found(client_for(make_user("administrator"), "cookie"), "settings") == {"Go to": ["Settings"]}


@pytest.mark.parametrize(("status", "possible"), [(ServerStatus.STOPPED, ["Start: web"]), (ServerStatus.RUNNING, [])])
def test_a_verb_and_a_name_do_what_is_possible_now(client_for: Make, dora: User, status: ServerStatus, possible: list[str]) -> None:
    rows.workspace(dora, "web", status)
    assert found(client_for(dora, "cookie"), "star we").get("Do", []) == possible


def test_what_stops_a_server_is_asked_about(client_for: Make, dora: User) -> None:
    rows.workspace(dora, "web", ServerStatus.RUNNING)
    page = client_for(dora, "cookie").get("/palette?q=reb+web").text
    assert 'data-confirm="Reboot: web?"' in page and 'action="/servers/web/power"' in page


def test_without_a_word_there_is_where_to_go_and_nothing_is_a_sentence(client_for: Make, make_user: Make) -> None:
    viewer = client_for(make_user("viewer"), "cookie")
    assert found(viewer, "")["Go to"][:3] == ["Dashboard", "Servers", "Runs"]
    page = viewer.get("/palette", query_string={"q": "<img src=x>"}).text
    assert "Nothing goes by &lt;img src=x&gt;." in page
