"""Networks: what is refused, and which addresses are handed out."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, insert

from app.models import Cluster, Network, Reservation
from app.services import inventory, networks, server_stock
from app.services.uow import unit_of_work
from tests.fixtures.simulator import Simulator

Client = Any
GOOD = {"name": "lab", "bridge": "vmbr1", "vlan": 30, "cidr": "10.30.0.0/24", "gateway": "10.30.0.1",
        "range_low": "10.30.0.10", "range_high": "10.30.0.19", "dns_servers": "10.30.0.1, 9.9.9.9"}  # fmt: skip


@pytest.fixture
def operator(client_for: Callable[..., Client], make_user: Callable[..., Any]) -> Client:
    return client_for(make_user("operator"))


@pytest.fixture
def lab(operator: Client, cluster: Cluster) -> Network:
    made = operator.post("/api/networks", json=GOOD)
    assert made.status_code == 201, made.json
    with unit_of_work() as uow:
        return uow.session.get_one(Network, made.json["id"])


def free(network: Network, count: int = 100) -> list[str]:
    with unit_of_work() as uow:
        stock = server_stock.read(uow.session, server_stock.Asked(None, None, [], [(network.name, count)]))
    return stock.networks[network.name].free


def hold(network: Network, ip: str, quarantined: bool = False, scope: str | None = None) -> None:
    from sqlalchemy import func

    with unit_of_work() as uow:
        uow.session.add(Reservation(
            cluster_id=network.cluster_id, kind="ip", scope=scope or networks.scope_of(network), value=ip,
            quarantined_until=func.clock_timestamp() if quarantined else None,
        ))  # fmt: skip


def fault(network: Network, ip: str) -> str | None:
    with unit_of_work() as uow:
        return networks.address_faults(uow.session, network, ip)


def test_every_fault_of_a_network_is_told_at_once(operator: Client, cluster: Cluster) -> None:
    bad = {
        "name": "servers",
        "bridge": "vmbr9",
        "vlan": 5000,
        "cidr": "10.0.0.1/24",
        "gateway": "x",
        "dns_servers": "nine",
        "range_low": "1",
    }
    answer = operator.post("/api/networks", json=bad)
    found = (
        {(e["field"], e["code"]) for e in answer.json["errors"]}
        if "code" in answer.json["errors"][0]
        else {(e["field"], "") for e in answer.json["errors"]}
    )
    assert answer.status_code == 422
    assert {f for f, _ in found} == {"name", "bridge", "vlan", "cidr", "gateway", "dns_servers.0", "range_low"}


def test_addresses_are_handed_out_lowest_first_within_the_range(lab: Network) -> None:
    assert free(lab, 3) == ["10.30.0.10", "10.30.0.11", "10.30.0.12"]
    assert len(free(lab)) == 10


def test_reserved_quarantined_and_foreign_addresses_are_left_out(lab: Network, simulator: Simulator) -> None:
    hold(lab, "10.30.0.10")
    hold(lab, "10.30.0.11", quarantined=True)
    hold(lab, "10.30.0.12", scope="vmbr1/31")  # another wire: no clash
    simulator.make_vm(701, "foreign", ipconfig0="ip=10.30.0.13/24,gw=10.30.0.1")
    inventory.poll(lab.cluster_id, due_s=0)
    assert free(lab, 3) == ["10.30.0.12", "10.30.0.14", "10.30.0.15"]
    with unit_of_work() as uow:
        assert networks.usage(uow.session, lab) == networks.Usage(used=2, reserved=1, free=7, total=10)


def test_what_is_wrong_with_a_chosen_address(lab: Network, simulator: Simulator) -> None:
    hold(lab, "10.30.0.15")
    simulator.make_vm(702, "foreign", ipconfig0="ip=10.30.0.16/24")
    inventory.poll(lab.cluster_id, due_s=0)
    wanted = {
        "nonsense": "ip_malformed", "10.31.0.5": "ip_outside_network", "10.30.0.1": "ip_is_gateway",
        "10.30.0.0": "ip_not_a_host", "10.30.0.255": "ip_not_a_host", "10.30.0.50": "ip_outside_range",
        "10.30.0.15": "ip_taken", "10.30.0.16": "ip_taken_by_guest", "10.30.0.17": None,
    }  # fmt: skip
    assert {ip: fault(lab, ip) for ip in wanted} == wanted


def test_the_first_network_is_the_default_and_only_one_is(operator: Client, lab: Network) -> None:
    with unit_of_work() as uow:
        default = server_stock.read(uow.session, server_stock.Asked(None, None, [], [(None, 0)])).networks[None].network
        assert default is not None and default.name == "servers"
    assert operator.patch(f"/api/networks/{lab.id}", json={"is_default": True}).json["is_default"] is True
    assert [n["name"] for n in operator.get("/api/networks").json["items"] if n["is_default"]] == ["lab"]


def test_a_network_with_servers_stays_as_it_is(operator: Client, lab: Network, make_server: Callable[..., Any]) -> None:
    make_server(nics=[{"network_id": lab.id, "ip": "10.30.0.10"}])
    assert operator.delete(f"/api/networks/{lab.id}").json["code"] == "network_in_use"
    answer = operator.patch(f"/api/networks/{lab.id}", json={"vlan": 31})
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "vlan"
    assert operator.patch(f"/api/networks/{lab.id}", json={"range_high": "10.30.0.30"}).status_code == 200


def test_an_unused_network_can_go(operator: Client, lab: Network) -> None:
    assert operator.delete(f"/api/networks/{lab.id}").status_code == 200
    assert operator.get(f"/api/networks/{lab.id}").status_code == 404


def test_developers_read_networks_and_change_none(
    client_for: Callable[..., Client], make_user: Callable[..., Any], lab: Network
) -> None:
    developer = client_for(make_user("developer"))
    assert len(developer.get("/api/networks?limit=2").json["items"]) == 2
    assert developer.get("/api/networks?limit=2").json["next_cursor"]
    assert developer.delete(f"/api/networks/{lab.id}").status_code == 403


def test_the_list_goes_on_where_it_stopped(operator: Client, lab: Network) -> None:
    first = operator.get("/api/networks?limit=2").json
    second = operator.get(f"/api/networks?limit=2&cursor={first['next_cursor']}").json
    assert [n["name"] for n in first["items"] + second["items"]] == ["internal", "lab", "servers"] and second[
        "next_cursor"
    ] is None


def test_a_slash_16_is_counted_quickly(operator: Client, cluster: Cluster) -> None:
    import time

    made = operator.post("/api/networks", json={"name": "big", "bridge": "vmbr1", "vlan": 99, "cidr": "10.99.0.0/16"})
    with unit_of_work() as uow:
        network = uow.session.get_one(Network, made.json["id"])
        ips = [f"10.99.{n // 250}.{n % 250 + 1}" for n in range(20_000)]
        uow.session.execute(
            insert(Reservation),
            [{"cluster_id": cluster.id, "kind": "ip", "scope": "vmbr1/99", "value": ip} for ip in ips],
        )
    begun = time.monotonic()
    assert len(free(network)) == 100
    assert time.monotonic() - begun < 2


def test_large_numbers_are_written_as_the_reader_writes_them(operator: Client, client_for: Callable[..., Client], make_user: Callable[..., Any], cluster: Cluster) -> None:
    wide = GOOD | {"name": "wide", "vlan": 31, "cidr": "10.31.0.0/16", "gateway": "10.31.0.1", "range_low": "10.31.1.0", "range_high": "10.31.40.255"}
    assert operator.post("/api/networks", json=wide).status_code == 201
    browser = client_for(make_user("operator"), "cookie")
    page = browser.get("/networks", headers={"Accept-Language": "en"}).text
    assert "10,240 free" in page and "10240" not in page
    with operator.application.test_request_context():
        assert operator.application.jinja_env.from_string("{{ ngettext('%(num)d server', '%(num)d servers', 10001) }}").render() == "10,001 servers"


def test_an_address_that_became_free_below_waits_until_nothing_is_left_above(lab: Network) -> None:
    for last in range(10, 13):
        hold(lab, f"10.30.0.{last}")
    assert free(lab, 1) == ["10.30.0.13"]
    with unit_of_work() as uow:
        uow.session.execute(delete(Reservation).where(Reservation.value == "10.30.0.11"))
    assert free(lab, 2) == ["10.30.0.13", "10.30.0.14"]
    assert free(lab, 9) == [*(f"10.30.0.{last}" for last in range(13, 20)), "10.30.0.11"]


def test_an_address_that_became_free_below_comes_first_again_after_a_while(lab: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_stock, "REMEMBERED_S", -1.0)
    hold(lab, "10.30.0.10")
    assert free(lab, 1) == ["10.30.0.11"]
    with unit_of_work() as uow:
        uow.session.execute(delete(Reservation).where(Reservation.value == "10.30.0.10"))
    assert free(lab, 1) == ["10.30.0.10"]


def test_how_many_were_free_is_counted_only_where_they_were_too_few(lab: Network) -> None:
    hold(lab, "10.30.0.10")
    with unit_of_work() as uow:
        stock = server_stock.read(uow.session, server_stock.Asked(None, None, [], [(lab.name, 12), ("servers", 2)]))
    assert (stock.networks[lab.name].seen, len(stock.networks[lab.name].free)) == (9, 9)
    assert (stock.networks["servers"].seen, len(stock.networks["servers"].free)) == (2, 2)
