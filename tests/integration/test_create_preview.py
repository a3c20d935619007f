"""What the create form would come to, and batches whose servers differ."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from app.domain.server_status import ServerStatus
from app.models import Cluster, Guest, Network, Node, Reservation, Run, Server, Template, User, Workspace
from app.services import servers
from app.services.create_preview import fingerprint
from app.services.uow import unit_of_work
from tests.integration import rows
from tests.integration.test_query_counts import counted

Client = Any
Make = Callable[..., Any]
FORM = {"template": "ubuntu-24.04", "cores": "2", "memory_gib": "2", "disk_gib": "20", "count": "1", "name": "web", "network": "servers", "ip_mode": "next"}


@pytest.fixture
def client(dora: User, client_for: Callable[..., Client], ready: None) -> Client:
    return client_for(dora)


@pytest.fixture
def ready(cluster: Any) -> None:
    """The simulated cluster, polled, with a network."""
    rows.project()
    from app.services import inventory  # noqa: PLC0415

    inventory.poll(cluster.id, due_s=0)
    with unit_of_work() as uow:
        few = {"range_low": "10.20.0.50", "range_high": "10.20.0.60"}
        if uow.session.execute(update(Network).where(Network.name == "servers").values(**few).returning(Network.id)).first() is None:
            uow.session.add(Network(cluster_id=cluster.id, name="servers", bridge="vmbr0", cidr="10.20.0.0/22", gateway="10.20.0.1", is_default=True, **few))
        uow.session.execute(update(Template).values(offered=True))


def preview(client: Client, **more: str) -> str:
    answer = client.post("/servers/preview", data=FORM | more)
    assert answer.status_code == 200
    return str(answer.text)


def create(client: Client, **body: Any) -> Any:
    return client.post("/api/servers/async", json={"name": "farm", "template": "ubuntu-24.04", "networks": [{"network": "servers"}], **body})


def test_the_preview_names_the_best_node_and_why_not_the_others(client: Client) -> None:
    page = preview(client)
    assert page.count("best fit") == 1 and "10.20.0.50" in page and "10 free" in page
    tight = preview(client, memory_gib="3000")
    assert "best fit" not in tight and "in all" in tight
    many = preview(client, count="4")
    assert "of 4 go here" in many and "10.20.0.50 – 10.20.0.53" in many


def test_the_first_start_is_told_as_the_server_will_get_it(client: Client) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIcBNkBEwGV5mDsCLKDGPbWBSPdgPuNwnQ0Oz1bOV9Fk dora@example"
    page = preview(client, ssh_keys=key, username="ops")
    assert "user: ops (sudo)" in page and "address: 10.20.0.50/22" in page and "gateway: 10.20.0.1" in page
    assert fingerprint(key) in page and "AAAAC3" not in page
    assert "hostname" not in preview(client, name="Not A Name")
    assert "ssh key: none" in preview(client)


def test_the_preview_follows_the_rows_of_a_batch(client: Client) -> None:
    table = {"count": "3", "row_name_1": "second", "row_ip_1": "10.20.0.50", "row_memory_2": "1000"}
    page = preview(client, **table)
    assert "1 server fits nowhere" in page and "of memory in all" in page
    fits = preview(client, **table | {"row_memory_2": "4"})
    assert "fits nowhere" not in fits and "10.20.0.50 – 10.20.0.52" in fits
    # The row's own address is nobody else's.
    start = fits[fits.index("hostname: web-1") :]
    assert [m for m in re.findall(r"hostname: (\S+)|address: (\S+)/22", start)] == [
        ("web-1", ""), ("", "10.20.0.51"), ("second", ""), ("", "10.20.0.50"), ("web-3", ""), ("", "10.20.0.52"),
    ]  # fmt: skip
    with unit_of_work() as uow:
        assert not list(uow.session.scalars(select(Reservation)))
    assert client.post("/servers/new", data=FORM | table | {"row_memory_2": "4"}).status_code == 303
    with unit_of_work() as uow:
        made = {s.name: s.nics[0]["ip"] for s in uow.session.scalars(select(Server))}
    assert made == {"web-1": "10.20.0.51", "second": "10.20.0.50", "web-3": "10.20.0.52"}


def test_a_chosen_node_is_told_as_chosen_and_why_it_cannot_be(client: Client) -> None:
    assert "chosen" in preview(client, node="pve1") and "best fit" not in preview(client, node="pve1")
    full = preview(client, node="pve1", cores="500")
    assert "chosen" not in full and "pve1" in full and "cores" in full
    with unit_of_work() as uow:
        home = uow.session.scalars(select(Template.node_name).where(Template.name == "ubuntu-24.04")).one()
        uow.session.execute(update(Node).where(Node.name == home).values(online=False))
    assert "which is offline" in preview(client)


def test_numbers_out_of_all_bounds_are_no_work(client: Client) -> None:
    for count in ("1000000000", "-5", "0", "many", "1e30"):
        assert "go here" not in preview(client, count=count)
    assert "told here once" in preview(client, memory_gib="1e300", cores="99999999999999999999", disk_gib="-1")


def test_without_a_network_the_page_says_so(client: Client) -> None:
    with unit_of_work() as uow:
        uow.session.execute(delete(Network))
    page = client.get("/servers/new").text
    assert "has no network with addresses to give out" in page and 'name="network"' not in page
    assert client.post("/servers/new", data={k: v for k, v in FORM.items() if k != "network"}).status_code == 422


def test_a_time_is_told_once_it_is_known(client: Client, dora: User) -> None:
    assert "About" not in preview(client)
    made = rows.workspace(dora, "old")
    for _ in range(3):
        run = rows.run(made, dora, kind=rows.RunKind.CREATE)
        with unit_of_work() as uow:
            uow.session.connection().exec_driver_sql(
                f"update run set progress_total = 1, started_at = created_at, planned_at = created_at + interval '2 s', apply_started_at = created_at + interval '2 s', finished_at = created_at + interval '42 s' where id = {run.id}"  # noqa: S608
            )
    told = preview(client)
    assert re.search(r"About 4[05] seconds, as 3 runs before", told)
    # Of batches nothing is known yet.
    assert "About" not in preview(client, count="2")


def test_without_a_template_there_is_nothing_to_say(client: Client, client_for: Callable[..., Client], make_user: Make) -> None:
    nothing = preview(client, template="none")
    assert "<h3>" not in nothing and "hostname" not in nothing
    assert client_for(make_user("viewer")).post("/servers/preview", data=FORM).status_code == 403


def test_servers_of_a_batch_have_their_own_names_addresses_and_sizes(client: Client) -> None:
    answer = create(client, memory_mib=1024, servers=[{"name": "alpha", "ip": "10.20.0.51"}, {"name": "beta", "cores": 4, "memory_mib": 2048}, {"name": "gamma"}])
    assert answer.status_code == 202, answer.json
    assert answer.json["servers"] == ["alpha", "beta", "gamma"]
    with unit_of_work() as uow:
        made = {s.name: s for s in uow.session.scalars(select(Server))}
        held = {r.value for r in uow.session.scalars(select(Reservation).where(Reservation.kind == "ip"))}
    assert {n: s.nics[0]["ip"] for n, s in made.items()} == {"alpha": "10.20.0.51", "beta": "10.20.0.50", "gamma": "10.20.0.52"}
    assert {n: (s.cores, s.memory_mib) for n, s in made.items()} == {"alpha": (1, 1024), "beta": (4, 2048), "gamma": (1, 1024)}
    assert held == {"10.20.0.50", "10.20.0.51", "10.20.0.52"}


def test_each_row_is_checked_by_itself(client: Client) -> None:
    answer = create(client, servers=[{"name": "a", "ip": "10.20.0.51"}, {"name": "a", "ip": "10.20.0.51"}, {"name": "B!", "ip": "10.99.0.1"}, {"name": "d", "memory_mib": 130}])
    assert {e["field"]: e["code"] for e in answer.json["errors"]}.keys() >= {"servers.1.name", "servers.2.name"}
    other = create(client, servers=[{"name": "a", "ip": "10.20.0.51"}, {"name": "b", "ip": "10.20.0.51"}, {"name": "c", "ip": "10.99.0.1"}, {"name": "d", "memory_mib": 130}])
    assert {e["field"]: e["code"] for e in other.json["errors"]} == {
        "servers.1.ip": "ip_twice", "servers.2.ip": "ip_outside_network", "servers.3.memory_mib": "memory_below_template"
    }  # fmt: skip


def test_rows_are_enough_without_a_name_for_all(client: Client) -> None:
    body = {"template": "ubuntu-24.04", "networks": [{"network": "servers"}], "servers": [{"name": "solo", "disk_gib": 30}, {"name": "duo"}]}
    assert client.post("/api/servers/async", json=body).json["servers"] == ["solo", "duo"]
    with unit_of_work() as uow:
        made = {s.name: s.disks[0]["size_gib"] for s in uow.session.scalars(select(Server))}
        smallest = uow.session.scalars(select(Template.disk_gib).where(Template.name == "ubuntu-24.04")).one()
        assert uow.session.scalars(select(Workspace.name)).one().startswith("solo-")
    assert made == {"solo": 30, "duo": smallest}
    assert client.post("/api/servers/async", json=body | {"servers": []}).status_code == 422
    assert client.post("/api/servers/async", json={"template": "ubuntu-24.04"}).json["errors"][0]["field"] == "name"


def test_what_is_wrong_with_one_server_is_told_at_its_row(client: Client) -> None:
    create(client, servers=[{"name": "there"}])
    found = create(client, servers=[{"name": "there"}, {"name": "huge", "cores": 500}, {"name": "tiny", "disk_gib": 1}])
    assert {e["field"]: e["code"] for e in found.json["errors"]} == {
        "servers.0.name": "name_taken", "servers.1.cores": "node_too_small_cores", "servers.2.disk_gib": "disk_below_template"
    }  # fmt: skip
    twice = create(client, servers=[{"name": "same"}, {"name": "same"}]).json["errors"][0]
    assert "same" in twice["message"] and twice["field"] == "servers.1.name"


def test_each_server_of_a_batch_may_have_its_own_node_and_vmid(client: Client) -> None:
    assert create(client, name="first").status_code == 202
    low = made()["first"].vmid
    answer = create(client, servers=[{"name": "a"}, {"name": "b", "node": "pve1", "vmid": low + 1}, {"name": "c", "node": "pve1"}, {"name": "d", "vmid": low + 40}])
    assert answer.status_code == 202, answer.json
    servers_now = made()
    assert {n: servers_now[n].vmid - low for n in "abcd"} == {"a": 2, "b": 1, "c": 3, "d": 40}
    assert servers_now["b"].node_name == servers_now["c"].node_name == "pve1"
    with unit_of_work() as uow:
        held = {r.value for r in uow.session.scalars(select(Reservation).where(Reservation.kind == "vmid"))}
    assert held == {str(s.vmid) for s in servers_now.values()}


def made() -> dict[str, Server]:
    with unit_of_work() as uow:
        return {s.name: s for s in uow.session.scalars(select(Server))}


def test_a_vmid_that_a_server_cannot_have_is_told_at_its_row(client: Client) -> None:
    create(client, name="first")
    with unit_of_work() as uow:
        guest = uow.session.scalars(select(Guest.vmid).order_by(Guest.vmid)).first()
        uow.session.execute(update(Cluster).values(vmid_low=100, vmid_high=200000))
    free = max(s.vmid for s in made().values()) + 7
    own = [{"name": n, "vmid": v} for n, v in (("a", made()["first"].vmid), ("b", guest), ("c", free), ("d", free), ("e", 200001), ("f", free + 1))]
    found = create(client, servers=own).json["errors"]
    assert {e["field"]: e["code"] for e in found} == {
        "servers.0.vmid": "vmid_in_use", "servers.1.vmid": "vmid_in_use", "servers.3.vmid": "vmid_twice", "servers.4.vmid": "vmid_outside_range"
    }  # fmt: skip
    assert create(client, servers=[{"name": "x", "vmid": True}]).json["errors"][0]["field"] == "servers.0.vmid"
    assert create(client, servers=[{"name": "y", "node": "nowhere"}, {"name": "z", "node": "pve1", "cores": 500}]).json["errors"][0]["field"] == "servers.0.node"
    assert set(made()) == {"first"}


def test_a_vmid_is_given_out_once(client: Client) -> None:
    wanted = {"name": "one", "servers": [{"name": "one", "vmid": 90555}]}
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(vmid_low=90000, vmid_high=91000))
    assert create(client, **wanted).status_code == 202
    again = create(client, name="two", servers=[{"name": "two", "vmid": 90555}])
    assert again.status_code == 422 and again.json["errors"][0]["code"] == "vmid_in_use"
    # And the numbers given out by themselves pass over it.
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(vmid_low=90555, vmid_high=90556))
    assert create(client, name="three").status_code == 202 and made()["three"].vmid == 90556
    assert create(client, name="four").json["errors"][0]["code"] == "vmids_exhausted"


def test_asking_once_more_brings_back_what_each_server_had(client: Client, dora: User) -> None:
    assert create(client, servers=[{"name": "alpha"}, {"name": "farm-2", "cores": 4, "memory_mib": 2048}]).status_code == 202
    with unit_of_work() as uow:
        run = uow.session.scalars(select(Run)).one()
        row = {"cores": 1, "memory_mib": 1024, "disks": [{"size_gib": 10, "datastore": "local-lvm"}], "username": "ubuntu", "ssh_keys": [], "tags": [],
               "note": "", "started": True, "nics": [], "node": "pve1"}  # fmt: skip
        run.inputs = {"defaults": {}, "servers": {"alpha": row, "farm-2": row | {"cores": 4, "memory_mib": 2048}}}
        run_id = run.id
    page = client.get(f"/servers/new?again={run_id}").text
    values = dict(re.findall(r'name="(row_[a-z]+_\d)" type="\w+" value="([^"]+)"', page))
    assert values == {"row_name_0": "alpha", "row_name_1": "farm-2", "row_cores_1": "4", "row_memory_1": "2"}


def test_a_batch_of_own_addresses_asks_the_database_as_often_as_a_small_one(client: Client) -> None:
    def statements(count: int, low: int) -> int:
        own = [{"name": f"s{low + n}", "ip": f"10.20.0.{low + n}"} for n in range(count)]
        with counted() as sent:
            assert create(client, servers=own).status_code == 202
        return len(sent)

    statements(1, 50)  # what is remembered afterwards
    assert statements(2, 51) == statements(7, 53)


def test_addresses_run_out_for_the_batch_as_a_whole(client: Client) -> None:
    own = [{"name": f"s{n}", "ip": f"10.20.0.{n}"} for n in range(50, 59)]
    assert create(client, servers=[*own, {"name": "x"}, {"name": "y"}]).json["errors"][0]["code"] == "addresses_exhausted"
    assert create(client, servers=[*own, {"name": "x"}]).status_code == 202


def test_the_table_of_the_form_becomes_servers_and_its_faults_come_back_to_their_rows(client: Client) -> None:
    table = {"count": "2", "row_name_0": "", "row_name_1": "second", "row_ip_1": "10.20.0.55", "row_cores_1": "2", "row_memory_1": "", "row_disk_1": "40"}
    begun = client.post("/servers/new", data=FORM | table)
    assert begun.status_code == 303, begun.text
    with unit_of_work() as uow:
        made = {s.name: (s.nics[0]["ip"], s.cores, s.disks[0]["size_gib"]) for s in uow.session.scalars(select(Server))}
    assert made == {"web-1": ("10.20.0.50", 2, 20), "second": ("10.20.0.55", 2, 40)}
    wrong = client.post("/servers/new", data=FORM | table | {"row_name_1": "third"})
    assert wrong.status_code == 422 and 'id="msg-row_ip_1"' in wrong.text
    line = wrong.text[wrong.text.index('id="msg-row_ip_1"') :][:200]
    assert "is taken" in line and 'value="third"' in wrong.text


def test_another_like_this_has_its_values_and_the_next_name(client: Client, dora: User) -> None:
    rows.workspace(dora, "web-3", status=ServerStatus.RUNNING)
    rows.workspace(dora, "web-7")
    with unit_of_work() as uow:
        assert servers.next_name(uow.session, "web-3") == "web-8"
        assert servers.next_name(uow.session, "db") == "db-2"
        assert servers.next_name(uow.session, "x" * 63) == "x" * 61 + "-2"
        guest = uow.session.scalars(select(Guest)).first() or pytest.fail("the cluster has guests")
        guest.name = "db-4"
        uow.session.flush()
        assert servers.next_name(uow.session, "db") == "db-5"
        uow.session.execute(update(Server).values(cores=6, tags=["prod"]))
    page = client.get("/servers/new?like=web-3").text
    assert 'value="web-8"' in page and 'value="6"' in page and 'value="prod"' in page
    assert client.get("/servers/new?like=nobody").status_code == 404
