"""What a request for a server takes until its 202, beside a bare route that inserts one row and sends one message.

The worker of the runs is stopped meanwhile (SIGSTOP): otherwise Terraform, begun by the first requests, would take both
cores from the rest and nothing about requests would be measured. After each block its runs are cancelled. Nobody reads the
event stream meanwhile: its reader would be a thread of the clients' own process, on the product's side only.

Both sides are asked for the same time: what disturbs a machine now and then (its neighbours, the disk, a tick of the
product's) comes by the clock, and a side that is asked for a third of the time would be spared two thirds of it.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from threading import Barrier

import redis

from tests.bench.crowded import fill
from tests.bench.floor import QUEUE as FLOOR_QUEUE
from tests.bench.floor import floor, instance
from tests.bench.product import Product, connection, product
from tests.bench.report import Report
from tests.bench.stats import percentile

REQUESTS, WARM_UP = 300, 3
FEW_REQUESTS, MANY = 100, 5_000
# Nobody polls meanwhile: the simulated cluster has none of these guests.
_TAKE = """
update cluster set vmid_high = 99999;
update server s set vmid = c.vmid_low + s.vmid - 100000 from cluster c where c.id = s.cluster_id and s.vmid > 100000;
insert into reservation (cluster_id, kind, scope, value, server_id)
select cluster_id, 'vmid', '', vmid::text, id from server where marker = 'tpm'
union all select cluster_id, 'ip', 'vmbr1/77', host('10.77.1.0'::inet + row_number() over (order by id) - 1), id from server where marker = 'tpm'
on conflict do nothing;
insert into guest (cluster_id, vmid, name, node_name, kind, status, template, cores, memory_mib, disk_gib, tags, ip_addresses, uptime_s)
select s.cluster_id, s.vmid, s.name, s.node_name, 'qemu', 'running', false, s.cores, s.memory_mib, 20, '', jsonb_build_array(r.value), 3600
from server s join reservation r on r.server_id = s.id and r.kind = 'ip' where s.marker = 'tpm'
on conflict do nothing;
analyze reservation; analyze guest; analyze server;
"""
CLIENTS = (1, 16)
# The smallest server that a template allows: the simulated nodes hold a block of them.
BODY = {"template": "debian-12", "memory_mib": 512, "apply": "confirm"}
Body = Callable[[], dict[str, object]]


def posts(place: Path, report: Report, rounds: int) -> None:
    """Both sides with one client and with sixteen, connections kept."""
    report.heading("posts", f"POST → 202, {REQUESTS} requests a round, beside a bare route for as long")
    ours: dict[int, list[list[float]]] = {n: [] for n in CLIENTS}
    bare: dict[int, list[list[float]]] = {n: [] for n in CLIENTS}
    threaded: dict[int, list[list[float]]] = {n: [] for n in CLIENTS}
    with product(place) as one, floor(one.stack, place) as base, floor(one.stack, place, threads=True) as usual, _stopped(one, "worker"):
        one.watch.close()
        server, row = _bodies(one)
        for number in range(1, rounds + 1):
            for clients in CLIENTS:
                block = _block(one.api.base, "/api/servers/async", one.api.token, clients, server)
                took_s = sum(block) / clients / 1000
                _cancel_all(one)
                ours[clients].append(block)
                said = [f"product {_said(block)}"]
                for name, side, address in (("bare", bare, base), ("bare, threads", threaded, usual)):
                    block = _block(address, "/post", "", clients, row, seconds=took_s)
                    redis.Redis.from_url(instance(one.stack)["redis_url"]).delete(FLOOR_QUEUE)
                    side[clients].append(block)
                    said.append(f"{name} {_said(block)} ({len(block)})")
                report.round("posts", number, f"{clients} clients, {took_s:.1f} s", *said)
    for clients in CLIENTS:
        for share in (0.99, 0.5):
            mine, theirs, in_threads = ([percentile(block, share) for block in side[clients]] for side in (ours, bare, threaded))
            limits = (1.5, 2.5) if share == 0.99 else (None, None)
            what = f"posts: POST → 202, p{share * 100:.0f}, {clients} clients"
            report.ratio(f"{what} ÷ bare route", mine, theirs, "ms", *limits)
            report.ratio(f"{what} ÷ bare route in threads", mine, in_threads, "ms", *limits)


def posts_many(place: Path, report: Report, rounds: int) -> None:
    """The same with one client, with no servers and with thousands whose VMIDs and addresses are the lowest of their ranges."""
    report.heading("posts-many", f"POST → 202, {FEW_REQUESTS} requests a round, with no servers and with {MANY:,}")
    with product(place) as one, _stopped(one, "worker", "worker_actions"):
        one.watch.close()
        server, _ = _bodies(one)
        sides: list[list[list[float]]] = []
        for count in (0, MANY):
            if count:
                fill(one.stack, 1, count)
                one.stack.sql_write(_TAKE)
            sides.append([])
            for number in range(1, rounds + 1):
                sides[-1].append(_block(one.api.base, "/api/servers/async", one.api.token, 1, server, FEW_REQUESTS))
                _cancel_all(one)
                report.round("posts-many", number, f"{count} servers", _said(sides[-1][-1]))
    none, many = ([percentile(block, 0.5) for block in side] for side in sides)
    report.ratio(f"posts-many: POST → 202 with {MANY:,} servers, p50, ÷ with none", many, none, "ms")


def _said(values: list[float]) -> str:
    return f"p50 {percentile(values, 0.5):.1f} p99 {percentile(values, 0.99):.1f} ms"


def _bodies(one: Product) -> tuple[Body, Body]:
    network = one.api.post(
        "/api/networks",
        {"name": "bench", "bridge": "vmbr1", "vlan": 77, "cidr": "10.77.0.0/16", "gateway": "10.77.0.1",
         "range_low": "10.77.1.0", "range_high": "10.77.20.250"},
    )  # fmt: skip
    if network.status != 201:
        raise RuntimeError(f"network: {network.status} {network.text[:300]}")
    return (
        lambda: {**BODY, "name": one.new_name(), "networks": [{"network": "bench"}]},
        lambda: {**BODY, "name": one.new_name(), "networks": [{"network": "bench"}]},
    )


@contextmanager
def _stopped(one: Product, *parts: str) -> Iterator[None]:
    pids = [int(one.info["pids"][part]) for part in parts]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        # The bells of cancelled runs need no answer.
        redis.Redis.from_url(instance(one.stack)["redis_url"]).delete("terraform")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _block(
    base: str, path: str, token: str, clients: int, body: Body, requests: int = REQUESTS, *, seconds: float | None = None
) -> list[float]:
    """Send the requests from so many clients at once, or for so many seconds as many as there come; returns ms each."""
    ready = Barrier(clients)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    # Who is asked for a time may be asked the same again: a bare row has no name of its own.
    bodies = cycle([json.dumps(body()) for _ in range(requests + clients * (WARM_UP + 1))])

    def ask(http: HTTPConnection) -> float:
        data, began = next(bodies), time.perf_counter()
        http.request("POST", path, data, headers)
        answer = http.getresponse()
        text = answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 202:
            ready.abort()
            raise RuntimeError(f"POST {path}: {answer.status} {text[:300]!r}")
        return took

    def client(count: int) -> list[float]:
        took: list[float] = []
        with connection(base) as http:
            for _ in range(WARM_UP):
                ask(http)
            ready.wait(60)
            began = time.perf_counter()
            while len(took) < count if seconds is None else time.perf_counter() - began < seconds:
                took.append(ask(http))
        return took

    shares = [requests // clients + (i < requests % clients) for i in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        return [value for values in pool.map(client, shares) for value in values]


def _cancel_all(one: Product) -> None:
    """Cancel every run that waits: addresses and VMIDs of servers that never were are free at once."""
    waiting = [row[0] for row in one.stack.sql("select id from run where state = 'plan_queued'")]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda run_id: one.api.post(f"/api/runs/{run_id}/cancel"), waiting))
    if any(answer.status != 202 for answer in answers):
        raise RuntimeError(f"cancel: {next(a for a in answers if a.status != 202).text[:300]}")
