"""The server list: filters, order, groups and columns as its address says, page by page; and the views somebody keeps of it."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import update

from app.domain.server_status import ServerStatus
from app.models import Server, User
from app.services import server_lists
from app.services.actor import Actor
from app.services.server_lists import Group, Order, ServerFilter, Sort
from app.services.uow import unit_of_work
from tests.integration import rows

Make = Callable[..., Any]
Client = Any


@pytest.fixture
def servers(make_user: Make, dora: User) -> None:
    """Five of dora's and one of egon's."""
    egon = make_user("developer", "egon")
    for name, owner, node, tags, cpu, template in (
        ("web-1", dora, "pve2", ["web", "prod"], 80, "debian-12"), ("web-2", dora, "pve1", ["web"], 10, "debian-12"), ("db", dora, "pve1", ["prod"], 55, "rocky-9"),
        ("mail", dora, "pve3", [], 10, "rocky-9"), ("old", dora, "pve1", ["web"], 0, "debian-12"), ("his", egon, "pve1", ["his-own"], 99, "rocky-9"),
    ):  # fmt: skip
        rows.workspace(owner, name, ServerStatus.STOPPED if name == "old" else ServerStatus.RUNNING)
        with unit_of_work() as uow:
            uow.session.execute(update(Server).where(Server.name == name).values(node_name=node, tags=tags, cpu_percent=cpu, template_name=template))


def listed(who: User, order: Order = Order(), limit: int = 2, **wanted: Any) -> list[str]:
    """Return all names, turning pages of so many."""
    names: list[str] = []
    cursor = None
    while True:
        with unit_of_work() as uow:
            page = server_lists.list_page(uow.session, Actor.of(who), ServerFilter(**wanted), order, limit, cursor)
        names += [s.name for s in page.items]
        if (cursor := page.next_cursor) is None:
            return names


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order(), ["db", "mail", "old", "web-1", "web-2"]),
        (Order(Sort.NAME, down=True), ["web-2", "web-1", "old", "mail", "db"]),
        (Order(Sort.CPU, down=True), ["web-1", "db", "mail", "web-2", "old"]),
        (Order(Sort.STATUS), ["web-1", "web-2", "db", "mail", "old"]),
        (Order(Sort.CREATED, down=True), ["old", "mail", "db", "web-2", "web-1"]),
        (Order(group=Group.NODE), ["db", "old", "web-2", "web-1", "mail"]),
        (Order(Sort.NAME, down=True, group=Group.TAG), ["mail", "db", "web-2", "web-1", "old"]),
        (Order(Sort.CPU, group=Group.WORKSPACE), ["db", "mail", "old", "web-1", "web-2"]),
    ],
)
def test_every_order_shows_each_server_once_over_its_pages(dora: User, order: Order, names: list[str]) -> None:
    assert listed(dora, order) == listed(dora, order, limit=50) == names


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"tag": "web"}, ["old", "web-1", "web-2"]), ({"tag": "web", "node": "pve1"}, ["old", "web-2"]), ({"template": "rocky-9"}, ["db", "mail"]),
        ({"status": ServerStatus.STOPPED}, ["old"]), ({"q": "prod"}, ["db", "web-1"]), ({"owner": "egon"}, []), ({"q": "%"}, []),
    ],
)  # fmt: skip
def test_filters_narrow_it_together(dora: User, wanted: dict[str, Any], names: list[str]) -> None:
    assert listed(dora, **wanted) == names
    with unit_of_work() as uow:
        assert server_lists.count(uow.session, Actor.of(dora), ServerFilter(**wanted)) == len(names)


@pytest.mark.usefixtures("servers")
def test_filters_offer_what_ones_own_servers_have(dora: User, make_user: Make) -> None:
    with unit_of_work() as uow:
        mine = server_lists.offered(uow.session, Actor.of(dora))
        everything = server_lists.offered(uow.session, Actor.of(make_user("viewer")))
        nothing = server_lists.offered(uow.session, Actor.of(make_user("developer")))
    assert (mine.nodes, mine.tags, mine.owners, mine.templates) == (["pve1", "pve2", "pve3"], ["prod", "web"], ["dora"], ["debian-12", "rocky-9"])
    assert everything.owners == ["dora", "egon"] and "his-own" in everything.tags
    assert (nothing.nodes, nothing.tags) == ([], [])


def shown(html: str) -> tuple[list[str], list[str]]:
    """Return the names and the heads of groups on a page, in its order."""
    return re.findall(r'<tr data-id="[^"]+" data-name="([^"]+)"', html), re.findall(r'<tr class="grp">.*?</svg>([^<]*)</th>', html)


@pytest.mark.usefixtures("servers")
def test_the_address_says_everything_and_nonsense_in_it_is_passed_over(client_for: Make, dora: User) -> None:
    client = client_for(dora, "cookie")
    page = client.get("/servers?tag=web&sort=-name&group=node&col=node&col=tags").text
    assert shown(page) == (["web-2", "old", "web-1"], ["pve1", "pve2"])
    assert 'aria-sort="descending"' in page and 'class="c-tags"' in page and 'class="c-own"' not in page
    assert "3 of 3 servers shown" in page
    assert client.get("/servers?sort=password_hash&group=owner&status=gone&col=secret&node=nowhere").status_code == 200
    assert client.get("/servers?cursor=rubbish").status_code == 422


@pytest.mark.usefixtures("servers")
def test_columns_are_remembered_by_the_browser(client_for: Make, dora: User) -> None:
    client = client_for(dora, "cookie")
    assert 'class="c-own"' in client.get("/servers").text
    assert 'class="c-own"' not in client.get("/servers?col=ip&col=uptime").text
    page = client.get("/servers").text
    assert 'class="c-own"' not in page and 'class="c-up' in page
    assert "c-up" not in client_for(dora, "cookie").get("/servers").text


@pytest.mark.usefixtures("servers")
def test_links_of_the_heads_keep_filters_and_columns(client_for: Make, dora: User) -> None:
    page = client_for(dora, "cookie").get("/servers?tag=web&col=node&col=cpu&cursor=").text
    [to] = [link.replace("&amp;", "&") for link in re.findall(r'<a class="sort" href="([^"]+)"[^>]*>CPU', page)]
    assert parse_qs(urlsplit(to).query) == {"tag": ["web"], "col": ["node", "cpu"], "sort": ["cpu"]}


# ---------------------------------------------------------------- kept views
def keep(client: Client, name: str, query: str) -> Any:
    return client.post("/servers/views", data={"name": name, "query": query})


def test_a_view_is_kept_under_a_name_replaced_and_forgotten(client_for: Make, dora: User) -> None:
    client = client_for(dora, "cookie")
    assert keep(client, " my  web ", "tag=web&sort=-cpu&next=https://evil.example&cursor=x").headers["Location"] == "/servers?tag=web&sort=-cpu"
    keep(client, "my web", "tag=prod")
    page = client.get("/servers").text
    assert 'href="/servers?tag=prod">my web</a>' in page and "sort=-cpu" not in page
    [address] = re.findall(r'action="(/servers/views/\d+/delete)"', page)
    assert client.post(address).status_code == 303
    assert "my web" not in client.get("/servers").text


def test_views_are_ones_own(client_for: Make, make_user: Make, dora: User) -> None:
    keep(client_for(dora, "cookie"), "mine", "tag=web")
    stranger = client_for(make_user("administrator"), "cookie")
    assert "mine" not in re.findall(r'<a class="mi" href="/servers\?[^"]*">([^<]+)', stranger.get("/servers").text)
    assert stranger.post("/servers/views/1/delete").status_code == 404


def test_a_view_without_a_name_or_one_too_many_is_refused_in_words(client_for: Make, dora: User) -> None:
    client = client_for(dora, "cookie")
    keep(client, "  ", "tag=web")
    assert "This is required." in client.get("/servers").text or "required" in client.get("/servers").text
    for number in range(21):
        keep(client, f"view {number}", "")
    assert len(re.findall(r"/servers/views/\d+/delete", client.get("/servers").text)) == 20


@pytest.mark.usefixtures("servers")
def test_what_the_filters_offer_follows_a_change_at_once(client_for: Make, dora: User) -> None:
    client = client_for(dora, "cookie")
    assert "just-now" not in client.get("/servers").text
    with unit_of_work() as uow:
        uow.session.execute(update(Server).where(Server.name == "db").values(tags=["just-now"]))
        uow.publish("server", f"owner:{dora.id}", {"name": "db"})
    assert "<option>just-now</option>" in client.get("/servers").text


@pytest.mark.usefixtures("servers")
def test_the_numbers_beside_the_filters_follow_a_change_at_once(client_for: Make, dora: User) -> None:
    client = client_for(dora, "cookie")
    failed = re.compile(r'data-count="failed">(\d+)<')
    before = int(failed.findall(client.get("/servers").text)[0])
    with unit_of_work() as uow:
        uow.session.execute(update(Server).where(Server.name == "db").values(status=ServerStatus.FAILED))
        uow.publish("server", f"owner:{dora.id}", {"name": "db"})
    assert int(failed.findall(client.get("/servers").text)[0]) == before + 1
