"""What servers use: Proxmox's curves on the page and over the API, and our own samples for the list."""

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select, text, update

from app.domain.usage import UsagePoint
from app.models import Cluster, Server, User
from app.services import usage
from app.services.uow import unit_of_work
from tests.integration import rows

Client = Any
Make = Callable[..., Any]


@pytest.fixture
def operator(olga: User, client_for: Callable[..., Client]) -> Client:
    return client_for(olga)


def values(page: str) -> list[list[list[float | None]]]:
    return [json.loads(unescape(found)) for found in re.findall(r'data-values="([^"]*)"', page)]


def test_a_running_servers_curves_come_from_proxmox(operator: Client, make_server: Make) -> None:
    make_server("web-1", running=True)
    page = operator.get("/servers/web-1/usage?timeframe=day", headers={"HX-Request": "true"}).text
    assert "<html" not in page and 'aria-current="true">Day' in page
    cpu, memory, network, disk = values(page)
    assert len(cpu) == 2 and len(memory) == len(network) == len(disk) == 3
    assert len(cpu[0]) == len(cpu[1]) > 10 and cpu[0] == sorted(cpu[0])
    answer = operator.get("/api/servers/web-1/usage?timeframe=week").json
    assert answer["timeframe"] == "week" and set(answer["points"][0]) == {
        "at_s", "cpu", "memory", "memory_total", "net_in", "net_out", "disk_read", "disk_write"
    }  # fmt: skip
    assert operator.get("/api/servers/web-1/usage?timeframe=century").status_code == 422


def test_where_a_server_stood_still_there_is_a_gap_and_no_zero(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    page = operator.get("/servers/web-1/usage").text
    assert all(value is None for value in values(page)[0][1]) and "nothing yet" in page
    assert "<html" in page  # whole, for browsers without scripts


def test_a_cluster_that_is_away_is_told_and_the_page_stands(operator: Client, make_server: Make) -> None:
    make_server("web-1")
    with unit_of_work() as uow:
        uow.session.execute(update(Cluster).values(endpoint="https://127.0.0.1:9"))
    page = operator.get("/servers/web-1/usage")
    assert page.status_code == 200 and "does not answer now" in page.text
    assert operator.get("/api/servers/web-1/usage").status_code == 503
    assert operator.get("/servers/web-1").status_code == 200


def test_nobody_reads_the_curves_of_others(make_user: Make, client_for: Callable[..., Client], make_server: Make) -> None:
    make_server("web-1")
    dora = client_for(make_user("developer", "dora"))
    assert dora.get("/servers/web-1/usage").status_code == dora.get("/api/servers/web-1/usage").status_code == 404


def test_the_figures_of_a_curve() -> None:
    found = usage.figures([None, 0.1, 0.3, None, 0.2])
    assert found is not None and (found.last, found.highest) == (0.2, 0.3) and round(found.mean, 3) == 0.2
    assert usage.figures([None]) is None
    assert UsagePoint(1).cpu is None


# ---- samples
def sampled(cluster_id: int) -> Server:
    with unit_of_work() as uow:
        usage.sample(uow, cluster_id)
    with unit_of_work() as uow:
        return uow.session.scalars(select(Server)).one()


def test_a_sample_is_kept_every_five_minutes_and_the_last_two_hours_of_them(olga: User) -> None:
    made = rows.workspace(olga, "web")
    for load in range(30):
        with unit_of_work() as uow:
            uow.session.execute(update(Server).values(cpu_percent=load))
            uow.session.execute(text("update server set usage_at = usage_at - make_interval(mins => 6)"))
        server = sampled(made.cluster_id)
        assert sampled(made.cluster_id).cpu_recent == server.cpu_recent  # too soon: nothing more
    assert server.cpu_recent == list(range(6, 30))


def test_the_list_draws_them(olga: User, operator: Client) -> None:
    rows.workspace(olga, "web")
    assert "<polyline" not in operator.get("/servers").text
    with unit_of_work() as uow:
        uow.session.execute(update(Server).values(cpu_recent=[0, 100, 50]))
    page = operator.get("/servers").text
    assert 'points="1.0,18.5 36.0,1.5 71.0,10.0"' in page and "0 to 100 %" in page
