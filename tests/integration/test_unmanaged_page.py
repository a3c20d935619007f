"""The page of the older application's servers: each with the guest it is now, or none; for everybody who sees the nodes."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.models import Guest, UnmanagedServer, User
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]
PATH = "/nodes/unmanaged"


def entry(name: str, vmid: int | None, **more: Any) -> None:
    with unit_of_work() as uow:
        uow.session.add(UnmanagedServer(source_key=f"old:{name}:{vmid}", name=name, vmid=vmid, **more))


@pytest.fixture
def guests() -> None:
    lab = rows.cluster()
    with unit_of_work() as uow:
        for vmid, name in ((101, "web"), (102, "somebody-elses")):
            uow.session.add(Guest(cluster_id=lab.id, vmid=vmid, name=name, node_name="pve1", status="running", kind="qemu"))


def row_of(page: str, name: str) -> str:
    return next(part for part in page.split("<tr>") if f">{name}</b>" in part)


def test_an_entry_is_shown_with_the_guest_of_its_vmid_and_name_and_else_with_none(guests, dora: User, client_for: Make):
    entry("web", 101, role="nginx", os="ubuntu", cores=2, memory_mib=4096, ip_addresses=["10.0.0.5", "10.0.1.5"], former_status="running")
    entry("db", 102)
    entry("cache", 103)
    entry("new", None)
    page = client_for(dora, "cookie").get(PATH).text
    assert "pve1 · not managed, never touched" in row_of(page, "web")
    assert all(word in row_of(page, "web") for word in ("101 · ubuntu · nginx", "2 cores · 4 GiB", "10.0.0.5, 10.0.1.5"))
    assert "VMID 102 is somebody-elses now" in row_of(page, "db")
    for name in ("db", "cache", "new"):
        assert (">none<" in row_of(page, name), "pve1" in row_of(page, name)) == (True, False)


def test_a_guest_that_is_managed_here_meanwhile_leads_to_its_server(dora: User, olga: User, client_for: Make):
    made = rows.workspace(dora)
    with unit_of_work() as uow:
        uow.session.add(Guest(cluster_id=made.cluster_id, vmid=100 + made.id, name="web", node_name="pve1"))
    entry("web", 100 + made.id)
    assert 'href="/servers/web">managed here' in client_for(olga, "cookie").get(PATH).text


def test_the_list_is_searched_by_name_vmid_and_role_and_has_pages(guests, dora: User, client_for: Make):
    for n in range(60):
        entry(f"server-{n:02}", 1000 + n, role="db" if n == 7 else "")
    browser = client_for(dora, "cookie")
    first = browser.get(PATH).text
    assert (first.count("<tr><th scope"), "server-49" in first, "server-50" in first, "60 servers" in first) == (50, True, False, True)
    cursor = re.search(r'cursor=([^"&]+)', first)
    assert cursor
    following = browser.get(f"{PATH}?cursor={cursor[1]}").text
    assert (following.count("<tr><th scope"), "server-50" in following) == (10, True)
    for q in ("server-07", "1007", "db"):
        assert browser.get(f"{PATH}?q={q}").text.count("<tr><th scope") == 1


def test_the_page_of_nodes_leads_there_only_when_there_is_something(dora: User, client_for: Make):
    browser = client_for(dora, "cookie")
    assert PATH not in browser.get("/nodes").text
    assert "Nothing came over" in browser.get(PATH).text
    entry("web", 101)
    assert "1 server of the older application" in browser.get("/nodes").text


def test_the_list_of_guests_says_which_the_older_application_knew(guests, olga: User, client_for: Make):
    entry("web", 101)
    entry("db", 102)
    page = client_for(olga, "cookie").get("/nodes/guests").text
    assert page.count("known from the older application") == 1
    assert "known from the older application" in next(part for part in page.split("<tr>") if ">web</b>" in part)
