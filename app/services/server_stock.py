"""What a request for servers is checked against and takes from, read in one statement.

`read` answers with copies of rows that belong to no session, with the room that is left on nodes and storages, and with
free addresses. With `hold` it also draws the ids of the rows to come, and the VMIDs and addresses it returns are locked
for this transaction: whoever asks at the same moment passes over them, and nobody waits. What somebody else has just
committed and unlocked still looks free to a statement that began before: each number is looked up once more when it is locked.

The numbers are walked from the lowest on, each looked up by an index, and the walk ends with the last one needed. Where it
found the first free one is remembered for half a minute, so that a request costs as much with thousands of servers as with
ten; what becomes free below it is found after that, or when there is nothing above.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from socket import inet_aton
from typing import Any

from sqlalchemy.orm import Session

from app.domain.placement import NodeRoom
from app.models import Cluster, Network, Preset, Template
from app.models.base import detached
from app.services import networks, placement, reservations
from app.services.prepared import Prepared

# How long a number that became free below may wait until it is seen.
REMEMBERED_S = 30.0
_starts: dict[str, tuple[int, float]] = {}  # "ip <network>" or "vmid <cluster>": the first free number, and until when


@dataclass(frozen=True)
class Asked:
    """What to look for. `networks` are (name, how many addresses); without a name it is the cluster's default one. `vmids` are asked for by number."""

    template: str | None
    preset: str | None
    names: Sequence[str]
    networks: Sequence[tuple[str | None, int]]
    hold: bool = False
    vmids: Sequence[int] = ()


@dataclass(frozen=True)
class Pool:
    """A network and the lowest of its free addresses; `seen` is how many of those needed were free, the ones others hold included."""

    network: Network
    free: list[str]
    seen: int


@dataclass(frozen=True)
class Held:
    """What is this transaction's own: ids of the rows to come, and VMIDs; `seen` of those needed were free."""

    workspace_id: int
    run_id: int
    server_ids: list[int]
    outbox_ids: list[int]  # for the bell, the run's event and one of each server
    vmids: list[int]
    seen: int
    project_id: int
    installation: str


@dataclass(frozen=True)
class Stock:
    """`template` is the offered one; `template_known` when there was ever one of that name."""

    template: Template | None
    template_known: bool
    preset: Preset | None
    cluster: Cluster | None
    ours: frozenset[str]  # names taken by servers
    foreign: frozenset[str]  # and by guests that are not ours
    networks: dict[str | None, Pool]
    rooms: list[NodeRoom]
    held: Held | None
    vmids_taken: frozenset[int] = frozenset()  # of those asked for


_TEMPLATE = (
    "id, cluster_id, vmid, name, node_name, cores, memory_mib, min_memory_mib, disk_gib, disk_interface, storage, storage_shared, agent, username, image"
)
# Behind an `offset 0`, or all that are looked at would be locked. `reserved_by_now` is a function of ours that sees what was
# committed meanwhile.
_LOCK = "(pg_try_advisory_xact_lock(hashtextextended({what}, 0)) and not reserved_by_now({row}))"
_CLUSTER = "id, name, vmid_low, vmid_high"
_NETWORK = "id, cluster_id, name, bridge, vlan, cidr, gateway, dns_servers, dns_domain, range_low, range_high"
_STOCK = Prepared(f"""
with offered as materialized (
    select {_TEMPLATE} from template where name = $1->>'template' and offered and not gone
), home as materialized (
    select {_CLUSTER} from cluster
    where case when exists (select 1 from offered) then id = (select cluster_id from offered) else enabled end
    order by id limit 1
), pool as materialized (
    select n.*, w->>'name' as asked, n.bridge || '/' || coalesce(n.vlan, 0) as scope, (w->>'need')::int as need,
        n.range_low::inet - '0.0.0.0'::inet as low, n.range_high::inet - '0.0.0.0'::inet as high,
        array(
            select nullif(gateway, '')::inet - '0.0.0.0'::inet from network
            where cluster_id = n.cluster_id and bridge = n.bridge and coalesce(vlan, 0) = coalesce(n.vlan, 0) and nullif(gateway, '') is not null
            union all values (network(n.cidr::inet) - '0.0.0.0'::inet), (broadcast(n.cidr::inet) - '0.0.0.0'::inet)
        ) as never
    from home, jsonb_array_elements($1->'networks') w, lateral (
        select {_NETWORK} from network
        where cluster_id = home.id and (w->>'name' is null or name = w->>'name')
        order by is_default desc, id limit 1
    ) n
), given as materialized (
    select pool.id as network_id, array(
        select held.ip from (
            select host('0.0.0.0'::inet + numbered.n) as ip from (
                select generate_series(pool.start, pool.high) as n union all select generate_series(pool.low, pool.start - 1)
            ) numbered
            where numbered.n <> all (pool.never)
              -- Subqueries that yield a value, so that each address is looked up alone and the walk ends with the last one needed.
              and (select r.id from reservation r where r.cluster_id = pool.cluster_id and r.kind = 'ip' and r.scope = pool.scope
                   and r.value = host('0.0.0.0'::inet + numbered.n)) is null
              -- Whatever bridge a guest is on: an address given out twice costs more than one left unused.
              -- Counted: for the first of many PostgreSQL would rather read the table than the index.
              and (select count(*) from guest g where g.cluster_id = pool.cluster_id and g.ip_addresses ? host('0.0.0.0'::inet + numbered.n)) = 0
            offset 0
        ) held
        where not ($1->>'hold')::bool or {_LOCK.format(what="'ip ' || pool.cluster_id || ' ' || pool.scope || ' ' || held.ip", row="pool.cluster_id, 'ip', pool.scope, held.ip")}
        limit pool.need
    ) as free
    from (
        select pool.*, least(greatest(low, ($1->'starts'->>('ip ' || pool.id))::bigint), high) as start
        from pool where pool.need > 0
    ) pool
), given_vmid as materialized (
    select array(
        select held.n from (
            select numbered.n from (
                select generate_series(start, vmid_high) as n union all select generate_series(vmid_low, start - 1)
            ) numbered
            where ($1->'vmids')::jsonb @> to_jsonb(numbered.n) is not true
              and (select r.id from reservation r where r.cluster_id = home.id and r.kind = 'vmid' and r.scope = '' and r.value = numbered.n::text) is null
              and (select g.id from guest g where g.cluster_id = home.id and g.vmid = numbered.n) is null
            offset 0
        ) held
        where {_LOCK.format(what="'vmid ' || home.id || ' ' || held.n", row="home.id, 'vmid', '', held.n::text")}
        limit ($1->>'count')::int
    ) as vmids
    from (select home.*, least(greatest(vmid_low, ($1->'starts'->>('vmid ' || home.id))::int), vmid_high) as start from home) home
    where ($1->>'hold')::bool
)
select json_build_object(
    'template', (select row_to_json(offered) from offered),
    'template_known', exists (select 1 from template where name = $1->>'template'),
    'preset', (select json_build_object('id', id, 'name', name, 'cores', cores, 'memory_mib', memory_mib, 'disk_gib', disk_gib)
               from preset where name = $1->>'preset'),
    'cluster', (select row_to_json(home) from home),
    'ours', (select json_agg(s.name) from home, server s where s.cluster_id = home.id and s.deleted_at is null
             and s.name = any (array(select jsonb_array_elements_text($1->'names')))),
    'foreign', (select json_agg(g.name) from home, guest g where g.cluster_id = home.id
                and g.name = any (array(select jsonb_array_elements_text($1->'names')))
                and not exists (select 1 from server s where s.cluster_id = g.cluster_id and s.vmid = g.vmid and s.deleted_at is null)),
    'vmids_taken', (select json_agg(v.vmid) from home, (select jsonb_array_elements_text($1->'vmids')::int as vmid) v
                    where exists (select 1 from reservation r where r.cluster_id = home.id and r.kind = 'vmid' and r.value = v.vmid::text)
                       or exists (select 1 from guest g where g.cluster_id = home.id and g.vmid = v.vmid)),
    'pools', (select json_agg(json_build_object(
        'asked', pool.asked,
        'network', (select row_to_json(n) from (select {', '.join('pool.' + c for c in _NETWORK.split(', '))}) n),
        'free', (select free from given g where g.network_id = pool.id limit 1)
    )) from pool),
    'rooms', {placement.ROOMS.format(cluster='(select id from home)')},
    'held', case when ($1->>'hold')::bool and exists (select 1 from home) then json_build_object(
        'workspace_id', nextval('workspace_id_seq'), 'run_id', nextval('run_id_seq'),
        'server_ids', array(select nextval('server_id_seq') from generate_series(1, ($1->>'count')::int)),
        'outbox_ids', array(select nextval('outbox_id_seq') from generate_series(1, ($1->>'count')::int + 2)),
        'vmids', (select vmids from given_vmid),
        'project_id', (select id from project order by id limit 1),
        'installation', (select value->>'id' from setting where key = 'installation_id')
    ) end
)::text
""")  # noqa: S608 - put together from constants


def read(session: Session, asked: Asked) -> Stock:
    """Return everything that a request is checked against; one round trip, and another where something runs short."""
    found = _STOCK.one(session, {
        "template": asked.template, "preset": asked.preset, "names": asked.names, "count": len(asked.names), "hold": asked.hold, "vmids": asked.vmids,
        "starts": _known_starts(),
        "networks": [{"name": name, "need": need} for name, need in asked.networks],
    })  # fmt: skip
    _remember(found)
    return Stock(
        template=detached(Template, found["template"]) if found["template"] else None,
        template_known=found["template_known"],
        preset=detached(Preset, found["preset"]) if found["preset"] else None,
        cluster=detached(Cluster, found["cluster"]) if found["cluster"] else None,
        ours=frozenset(found["ours"] or ()),
        foreign=frozenset(found["foreign"] or ()),
        networks=_pools(session, asked, found["pools"] or ()),
        rooms=placement.rooms_of(found["rooms"]),
        held=_held(session, asked, found) if found["held"] else None,
        vmids_taken=frozenset(found["vmids_taken"] or ()),
    )


def _pools(session: Session, asked: Asked, found: Sequence[dict[str, Any]]) -> dict[str | None, Pool]:
    needs, pools = dict(asked.networks), {}
    for one in found:
        network, free, need = detached(Network, one["network"]), one["free"] or [], needs[one["asked"]]
        # Asked only when the walk did not find enough: do others hold the rest at this moment, or is nothing left?
        seen = len(networks.free(session, network, need)) if len(free) < need else need
        pools[one["asked"]] = Pool(network, free, seen)
    return pools


def _held(session: Session, asked: Asked, found: dict[str, Any]) -> Held:
    held, need = found["held"], len(asked.names)
    if len(held["vmids"]) < need:
        free = reservations.free_vmids(session, detached(Cluster, found["cluster"]), asked.vmids)
        return Held(**held, seen=len(list(islice(free, need))))
    return Held(**held, seen=need)


def _known_starts() -> dict[str, int]:
    now = time.monotonic()
    for key in [key for key, (_, until) in _starts.items() if until < now]:
        _starts.pop(key, None)
    return {key: number for key, (number, _) in _starts.items()}


def _remember(found: dict[str, Any]) -> None:
    """Keep where the walks found the first free number: the time does not begin anew, or what is below were never seen."""
    firsts = {f"ip {p['network']['id']}": min(int.from_bytes(inet_aton(ip)) for ip in p["free"]) for p in found["pools"] or () if p["free"]}
    if found["held"] and found["held"]["vmids"]:
        firsts[f"vmid {found['cluster']['id']}"] = min(found["held"]["vmids"])
    until = time.monotonic() + REMEMBERED_S
    for key, number in firsts.items():
        _starts[key] = number, _starts.get(key, (0, until))[1]
