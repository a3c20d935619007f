"""What Proxmox reports and works on: guests by whose they are, recent tasks with their logs; and the map of a network's addresses."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select, update

from app.models import Cluster, Guest, Network, Node, Reservation, Server, User
from app.services import action_execution, inventory, networks
from app.services.uow import unit_of_work
from tests.fixtures.simulator import Simulator
from tests.integration import rows

Client = Any
Make = Callable[..., Any]


@pytest.fixture
def operator(olga: User, client_for: Callable[..., Client]) -> Client:
    return client_for(olga)


def names(page: str) -> list[str]:
    return re.findall(r'<th scope="row">(?:<a [^>]*>|<b[^>]*>)([^<]+)<', page)


def test_guests_are_found_by_whose_they_are(operator: Client, make_server: Make, cluster: Cluster, simulator: Simulator) -> None:
    made = make_server("web-1")
    simulator.make_vm(733, "strangers-vm")
    inventory.poll(cluster.id, due_s=0)
    assert "web-1" in names(operator.get("/nodes/guests?whose=managed").text)
    foreign = operator.get("/nodes/guests?whose=foreign").text
    assert "strangers-vm" in foreign and "web-1" not in names(foreign)
    assert names(operator.get(f"/nodes/guests?q={made.vmid}").text) == ["web-1"]
    assert "No guest matches" in operator.get("/nodes/guests?q=nothing-like-it").text


def test_tasks_say_what_whom_and_how_it_ended_and_ours_are_marked(operator: Client, make_server: Make, cluster: Cluster) -> None:
    make_server("web-1")
    inventory.poll(cluster.id, due_s=0)
    task_id = operator.post("/api/servers/web-1/start").json["task_id"]
    action_execution.execute(task_id)
    page = operator.get(f"/nodes/tasks/{cluster.id}", headers={"HX-Request": "true"}).text
    assert "<html" not in page and "Start" in names(page) and "from here" in page and "web-1" in page
    address = unescape(re.findall(r'href="(/nodes/tasks/\d+/log[^"]+)"', page)[0])
    assert operator.get(address).status_code == 200
    assert "No such task lately" in operator.get(f"/nodes/tasks/{cluster.id}?show=running").text


def test_a_log_is_asked_only_for_what_is_a_task(operator: Client, cluster: Cluster) -> None:
    for bad in ("", "../../access/users", "UPID:pve1:0:0:0:x:y:z:", "UPID:pve1/../x:0000AAAA:0000AAAA:0000AAAA:qmstart:1:a@b:"):
        assert operator.get(f"/nodes/tasks/{cluster.id}/log", query_string={"upid": bad}).status_code == 404


def test_an_away_cluster_is_told(operator: Client, cluster: Cluster) -> None:
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(endpoint="https://127.0.0.1:9"))
    page = operator.get(f"/nodes/tasks/{cluster.id}")
    assert page.status_code == 200 and "does not answer now" in page.text


def test_a_cluster_that_is_away_is_named_wherever_its_figures_are_shown(client_for: Callable[..., Client], olga: User, cluster: Cluster) -> None:
    client = client_for(olga, "cookie")
    assert "as last seen" not in client.get("/nodes").text and "does not answer" not in client.get("/").text
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(endpoint="https://127.0.0.1:9"))
    inventory.poll(cluster.id, due_s=0)
    nodes = client.get("/nodes").text
    assert "as last seen" in nodes and "refuses the connection" in nodes and ">Online<" not in nodes
    assert re.search(rf'rowgroup">{cluster.name} <span class="muted">does not answer', client.get("/").text)
    assert f"{cluster.name}: https://127.0.0.1:9 refuses the connection" in client.get("/servers/new").text


def test_of_thousands_of_guests_the_page_of_nodes_shows_the_first_and_counts_all(client_for: Callable[..., Client], olga: User, make_user: Make) -> None:
    cluster = rows.cluster()
    dora = make_user("developer", "dora")
    rows.workspace(dora, "hers")
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(enabled=True))
        uow.session.add(Node(cluster_id=cluster.id, name="pve1"))
        vmid = uow.session.scalars(select(Server.vmid)).one()
        uow.session.add_all(Guest(cluster_id=cluster.id, vmid=n, name=f"g{n}", node_name="pve1") for n in {vmid, *range(20_000, 22_000)})
    page = client_for(olga, "cookie").get("/nodes").text
    assert page.count('<th scope="row">') == 20 and "All 2001" in page and 'href="/servers/hers"' in page
    own = client_for(dora, "cookie").get("/nodes").text
    assert own.count('<th scope="row">') == 1 and 'href="/servers/hers"' in own and "g20000" not in own


def test_who_sees_only_own_servers_sees_neither(client_for: Callable[..., Client], make_user: Make, cluster: Cluster) -> None:
    dora = client_for(make_user("developer", "dora"))
    for path in ("/nodes/guests", f"/nodes/tasks/{cluster.id}", f"/nodes/tasks/{cluster.id}/log?upid=x"):
        assert dora.get(path).status_code == 403
    assert "/nodes/tasks/" not in dora.get("/nodes").text


# ---- addresses
def given(made: Network, server_name: str, ip: str, *, resting: bool = False) -> None:
    with unit_of_work() as uow:
        server = uow.session.query(Server).filter_by(name=server_name).one()
        until = "2999-01-01T00:00:00+00:00" if resting else None
        uow.session.add(Reservation(cluster_id=made.cluster_id, kind="ip", scope=networks.scope_of(made), value=ip, server_id=server.id, quarantined_until=until))


def test_every_address_is_on_the_map_with_who_has_it(operator: Client, olga: User, make_user: Make, client_for: Callable[..., Client]) -> None:
    dora = make_user("developer", "dora")
    net = rows.network()
    rows.workspace(olga, "web")
    rows.workspace(dora, "mine")
    given(net, "web", "10.9.0.10")
    given(net, "mine", "10.9.0.11")
    given(net, "mine", "10.9.0.12", resting=True)
    page = operator.get(f"/networks/{net.id}/map").text
    assert page.count('<a class="cell m-used"') == 2 and page.count('class="cell m-reserved"') == 2  # one of them in the legend
    assert page.count('<span class="cell m-free"') == 90 - 3 and "10.9.0.12" in page and "free again" in page
    hers = client_for(dora).get(f"/networks/{net.id}/map").text
    assert hers.count('<a class="cell m-used"') == 1 and "somebody else" in hers and ">web<" not in hers


def test_a_large_network_is_drawn_in_blocks_that_open(operator: Client, olga: User) -> None:
    net = rows.network()
    rows.workspace(olga, "web")
    with unit_of_work() as uow:
        uow.session.execute(update(Network).values(cidr="10.0.0.0/8", range_low="10.0.0.10", range_high="10.200.0.0", gateway="10.0.0.20"))
    given(net, "web", "10.3.4.5")
    page = operator.get(f"/networks/{net.id}/map").text
    blocks = re.findall(r'<a class="cell m-b(\d)" href="([^"]+)" title="([^"]+)"', page)
    assert len(blocks) == 201 and [b[2].partition(" ")[0] for b in blocks if b[0] != "0"] == ["10.0.0.10", "10.3.0.0"]
    assert "10.0.0.20" in page and "10.3.4.5" in page
    inner = operator.get(unescape(blocks[3][1])).text
    smaller = re.findall(r'<a class="cell m-b1" href="([^"]+)"', inner)
    assert len(smaller) == 1 and "10.3.0.0 – 10.3.255.255" in inner and "10.0.0.20" not in inner
    cells = operator.get(unescape(smaller[0])).text
    assert cells.count('class="cell m-free" title') == 255 and '<a class="cell m-used" href="/servers/web"' in cells
    assert "The whole network" in cells and "10.3.4.0 – 10.3.4.255" in cells


def test_bounds_that_are_none_are_passed_over(operator: Client) -> None:
    net = rows.network()
    whole = operator.get(f"/networks/{net.id}/map").text.count("m-free")
    for query in ("first=x&last=y", "first=10.9.0.90&last=10.9.0.20", "first=1.2.3.4&last=255.255.255.255", "kind=nonsense"):
        assert operator.get(f"/networks/{net.id}/map?{query}").text.count("m-free") == whole


def test_what_is_not_free_is_filtered_by_kind(operator: Client, olga: User) -> None:
    net = rows.network()
    rows.workspace(olga, "web")
    given(net, "web", "10.9.0.10")
    given(net, "web", "10.9.0.12", resting=True)

    def listed(kind: str) -> list[str]:
        return re.findall(r'<th scope="row" class="num">([^<]+)', operator.get(f"/networks/{net.id}/map?kind={kind}").text)

    assert listed("used") == ["10.9.0.10"] and listed("reserved") == ["10.9.0.12"]
    assert {"10.9.0.10", "10.9.0.12"} <= set(listed(""))
    assert "None of this kind" in operator.get(f"/networks/{net.id}/map?kind=guest").text


def test_networks_are_found_by_name_bridge_and_an_address_in_them(operator: Client) -> None:
    net = rows.network()
    with unit_of_work() as uow:
        uow.session.add(Network(cluster_id=net.cluster_id, name="backup", bridge="vmbr7", cidr="10.77.0.0/24", range_low="10.77.0.10", range_high="10.77.0.20"))

    def shown(query: str) -> set[str]:
        return set(re.findall(r'(?:<b class="w6">|href="/networks/\d+">)([^<]+)', operator.get(f"/networks?{query}").text))

    assert shown("") == {net.name, "backup"} == shown("cluster=") == shown(f"cluster={net.cluster_id}")
    assert shown("q=10.77.0.200") == shown("q=BACK") == shown("q=vmbr7") == {"backup"}
    assert shown("cluster=999999") == set()
    assert "No network fits" in operator.get("/networks?q=nothing").text
