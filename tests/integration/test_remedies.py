"""The failure's card on a run's page: its texts, Terraform's own words, and the button of its remedy for who may press it."""

import re
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.domain.failures import CATALOGUE, Remedy
from app.domain.run_state import RunKind, RunState
from app.domain.server_status import ServerStatus
from app.models import Cluster, Project, Run, Server, User
from app.services import servers, settings, workspaces
from app.services.actor import Actor
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]
Client = Any
CODE = {failure.remedy: failure.code for failure in CATALOGUE}
FOR_ALL = {"Try again", "Change the values", "Forget the server", "Choose another node", "Choose another storage", "Choose another template", "Choose another network"}
WORDS = {
    Remedy.RETRY: "Try again", Remedy.CHANGE: "Change the values", Remedy.FORGET: "Forget the server", Remedy.OTHER_NODE: "Choose another node", Remedy.OTHER_STORAGE: "Choose another storage",
    Remedy.OTHER_TEMPLATE: "Choose another template", Remedy.OTHER_NETWORK: "Choose another network",
    Remedy.CLUSTER: "Open the cluster's connection", Remedy.RAISE_TIMEOUT: "Raise the time limit",
    Remedy.WORKSPACE: "Open the workspace", Remedy.NONE: None,
}  # fmt: skip


@pytest.fixture
def owner(client_for: Make, dora: User) -> Client:
    return client_for(dora, "cookie")


@pytest.fixture
def administrator(client_for: Make, make_user: Make) -> Client:
    return client_for(make_user("administrator", "ada"), "cookie")


@pytest.fixture
def failed(dora: User) -> Callable[..., Run]:
    """`failed(code, kind)`: a run that ended with this failure; a create's servers were not made, unless `made`."""
    numbers = count(1)

    def make(code: str, kind: RunKind = RunKind.CREATE, detail: str = "VM clone\nin Terraform's words", made: bool = False) -> Run:
        workspace = rows.workspace(dora, f"web-{next(numbers)}", ServerStatus.FAILED)
        run = rows.run(workspace, dora, RunState.ERRORED)
        if kind == RunKind.CREATE and not made:
            with unit_of_work() as uow:
                uow.session.execute(update(Server).where(Server.workspace_id == workspace.id).values(deleted_at=func.now()))
        return ended(run, code, kind, detail)

    return make


def of(failed: Callable[..., Run], remedy: Remedy) -> Run:
    """A run that failed in a way which has this remedy."""
    return failed(CODE[remedy], RunKind.DELETE if remedy == Remedy.FORGET else RunKind.CREATE)


def ended(run: Run, code: str, kind: RunKind = RunKind.CREATE, detail: str = "") -> Run:
    with unit_of_work() as uow:
        row = uow.session.get_one(Run, run.id)
        row.state, row.kind = RunState.ERRORED, kind
        row.error = {"code": code, "args": {"node": "pve1", "server": "web", "servers": row.targets}, "detail": detail}
    return run


def card(client: Client, run: Run) -> str:
    page = client.get(f"/runs/{run.id}/head")
    assert page.status_code == 200
    found = re.search(r'<section class="fail card".*?</section>', page.text, re.DOTALL)
    assert found, page.text
    return found[0]


def buttons(html: str) -> list[str]:
    """Return what the big buttons say."""
    return [re.sub(r"<[^>]+>", "", text).replace("&#39;", "'") for text in re.findall(r'class="btn btn-primary(?: btn-sm)?"[^>]*>(.*?)</(?:a|button)>', html)]


def test_every_remedy_is_some_failures() -> None:
    assert set(CODE) == set(Remedy) == set(WORDS)


@pytest.mark.parametrize("remedy", list(Remedy))
def test_an_administrator_is_offered_each_remedy_and_it_leads_somewhere(administrator: Client, failed: Make, remedy: Remedy) -> None:
    run = of(failed, remedy)
    html = card(administrator, run)
    assert buttons(html) == ([WORDS[remedy]] if WORDS[remedy] else [])
    for href in re.findall(r'class="btn btn-primary btn-sm" href="([^"#]+)', html):
        assert administrator.get(href.replace("&amp;", "&")).status_code == 200
    assert "in Terraform&#39;s words" in html


@pytest.mark.parametrize("remedy", list(Remedy))
def test_the_owner_is_offered_what_his_role_may_do(owner: Client, failed: Make, remedy: Remedy) -> None:
    assert buttons(card(owner, of(failed, remedy))) == ([WORDS[remedy]] if WORDS[remedy] in FOR_ALL else [])


def test_who_only_looks_on_is_offered_nothing(client_for: Make, make_user: Make, failed: Make) -> None:
    viewer = client_for(make_user("viewer"), "cookie")
    assert buttons(card(viewer, failed("vm_locked"))) == []
    assert buttons(card(viewer, failed("node_offline"))) == []


@pytest.mark.parametrize("code", ["vm_locked", "node_offline"])
def test_a_change_is_tried_again_whatever_could_be_chosen_for_a_new_server(owner: Client, failed: Make, code: str) -> None:
    run = failed(code, RunKind.CHANGE)
    assert buttons(card(owner, run)) == ["Try again"]
    assert f'action="/runs/{run.id}/retry"' in card(owner, run)


def test_servers_that_are_there_in_part_are_gone_on_with_as_they_were_asked_for(owner: Client, failed: Make) -> None:
    assert buttons(card(owner, failed("node_offline", made=True))) == ["Try again"]


def test_the_same_button_is_not_there_twice(owner: Client, failed: Make) -> None:
    page = owner.get(f"/runs/{failed('vm_locked').id}/head").text
    assert buttons(page) == ["Try again"] and "Change and create" in page
    page = owner.get(f"/runs/{failed('vm_locked', RunKind.CHANGE).id}/head").text
    assert buttons(page) == ["Try again"]
    page = owner.get(f"/runs/{failed('node_offline').id}/head").text
    assert buttons(page) == ["Try again", "Choose another node"] and "Change and create" not in page


def test_the_api_names_the_remedy(client_for: Make, dora: User, failed: Make) -> None:
    error = client_for(dora).get(f"/api/runs/{failed('storage_no_space').id}").json["error"]
    assert (error["code"], error["remedy"]) == ("storage_no_space", "other_storage")


# ---------------------------------------------------------------- the form, opened with something else
@pytest.fixture
def asked(cluster: Cluster, dora: User) -> Run:
    """A failed request for a server on pve1, with its disk on nfs."""
    body = {"name": "web", "template": "debian-12", "cores": 3, "node": "pve1", "disks": [{"size_gib": 20, "storage": "nfs"}]}
    with unit_of_work() as uow:
        uow.session.add(Project(name="default"))
        uow.session.flush()
        run = servers.create(uow, Actor.of(dora), body).run
    with unit_of_work() as uow:
        row = uow.session.get_one(Run, run.id)
        row.inputs = workspaces.render_inputs(uow.session, row, {})
    return ended(run, "node_offline")


def form_of(client: Client, run: Run, other: str) -> dict[str, str]:
    """Return name, cores, node, storage and template as the create page opens with them."""
    page = client.get(f"/servers/new?again={run.id}&other={other}").text
    values = {}
    for name in ("name", "cores"):
        tag = re.search(rf'<input[^>]*id="f-{name}"[^>]*>', page)
        values[name] = next(iter(re.findall(r'value="([^"]*)"', tag[0] if tag else "")), "")
    for name in ("node", "template"):
        values[name] = next(iter(re.findall(rf'name="{name}" value="([^"]*)"[^>]* checked', page)), "")
    select = re.search(r'<select[^>]*name="storage".*?</select>', page, re.DOTALL)
    values["storage"] = next(iter(re.findall(r'value="([^"]*)"[^>]* selected', select[0] if select else "")), "")
    return values


def test_the_form_keeps_what_was_asked_for_and_has_another_node(owner: Client, asked: Run) -> None:
    form = form_of(owner, asked, "node")
    assert (form["name"], form["cores"], form["template"]) == ("web", "3", "debian-12")
    assert form["node"] in ("pve2", "pve3")


def test_the_form_has_another_storage(owner: Client, asked: Run) -> None:
    form = form_of(owner, asked, "storage")
    assert form["storage"] not in ("", "nfs")
    assert form["node"] == ""


def test_the_form_leaves_the_choice_of_another_template_open(owner: Client, asked: Run) -> None:
    assert form_of(owner, asked, "template")["template"] == ""


def test_a_raised_time_limit_holds_for_the_next_request_and_not_for_one_that_is_under_way(administrator: Client, asked: Run) -> None:
    with unit_of_work() as uow:
        row = uow.session.get_one(Run, asked.id)
        [before] = (row.inputs or {})["servers"].values()
        settings.change(uow, Actor.of(uow.session.scalars(select(User).where(User.username == "ada")).one()), clone_timeout_s=7200)
        [after] = workspaces.render_inputs(uow.session, row, {})["servers"].values()
    assert (before["clone_timeout"], after["clone_timeout"]) == (3600, 7200)
