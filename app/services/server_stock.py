"""What a request for servers is checked against and takes from, read in one statement.

`read` answers with copies of rows that belong to no session, with the room that is left on nodes and storages, and with
free addresses. With `hold` it also draws the ids of the rows to come, and the VMIDs and addresses it returns are locked
for this transaction: whoever asks at the same moment passes over them, and nobody waits. The lowest go first, unless
somebody else asks at the same moment: what he has just let go would still look free to us.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.placement import NodeRoom
from app.models import Cluster, Network, Preset, Template
from app.services import placement
from app.services.prepared import Prepared

# `offset 0` in the statement keeps the locking behind the sorting: PostgreSQL would lock every candidate first.
# How many of the lowest free values are looked at: others may hold some of them at the same moment.
AHEAD = "4 * {count} + 60"
# Of a crowd each takes at random among so many of the lowest.
SPREAD = 64


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
    """A network and the lowest of its free addresses; `seen` is how many were free, the ones others hold included."""

    network: Network
    free: list[str]
    seen: int


@dataclass(frozen=True)
class Held:
    """What is this transaction's own: ids of the rows to come, and VMIDs; `seen` of them were free."""

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
_CLUSTER = "id, name, vmid_low, vmid_high"
_NETWORK = "id, cluster_id, name, bridge, vlan, cidr, gateway, dns_servers, dns_domain, range_low, range_high"
_STOCK = Prepared(f"""
with alone as materialized (
    select not ($1->>'hold')::bool or pg_try_advisory_xact_lock(77001, 0) as yes
), offered as materialized (
    select {_TEMPLATE} from template where name = $1->>'template' and offered and not gone
), home as materialized (
    select {_CLUSTER} from cluster
    where case when exists (select 1 from offered) then id = (select cluster_id from offered) else enabled end
    order by id limit 1
), pool as materialized (
    select n.*, w->>'name' as asked, n.bridge || '/' || coalesce(n.vlan, 0) as scope, (w->>'need')::int as need
    from home, jsonb_array_elements($1->'networks') w, lateral (
        select {_NETWORK} from network
        where cluster_id = home.id and (w->>'name' is null or name = w->>'name')
        order by is_default desc, id limit 1
    ) n
), candidate as materialized (
    select pool.id as network_id, c.ip,
        case when (select yes from alone) then c.n else (row_number() over (partition by pool.id order by c.n) - 1) / {SPREAD} + random() end as place
    from pool, lateral (
        with taken as materialized (
            select value as ip from reservation where cluster_id = pool.cluster_id and kind = 'ip' and scope = pool.scope
            -- Whatever bridge a guest is on: an address given out twice costs more than one left unused.
            union all select jsonb_array_elements_text(ip_addresses) from guest where cluster_id = pool.cluster_id and ip_addresses <> '[]'
            union all select gateway from network
            where cluster_id = pool.cluster_id and bridge = pool.bridge and coalesce(vlan, 0) = coalesce(pool.vlan, 0)
            union all values (host(network(pool.cidr::inet))), (host(broadcast(pool.cidr::inet)))
        )
        select numbered.n, numbered.ip from (
            select n, host('0.0.0.0'::inet + n) as ip from generate_series(
                pool.range_low::inet - '0.0.0.0'::inet,
                least(pool.range_high::inet - '0.0.0.0'::inet,
                      pool.range_low::inet - '0.0.0.0'::inet + (select count(*) from taken) + {AHEAD.format(count='pool.need')})
            ) n
        ) numbered left join taken on taken.ip = numbered.ip
        where taken.ip is null order by numbered.n limit {AHEAD.format(count='pool.need')}
    ) c where pool.need > 0
), taken_vmid as materialized (
    select r.value::int as vmid from home, reservation r where r.cluster_id = home.id and r.kind = 'vmid' and ($1->>'hold')::bool
    union all select g.vmid from home, guest g where g.cluster_id = home.id and ($1->>'hold')::bool
    union all select jsonb_array_elements_text($1->'vmids')::int
), free_vmid as materialized (
    select n as vmid, case when (select yes from alone) then n else (row_number() over (order by n) - 1) / {SPREAD} + random() end as place
    from home, generate_series(
        vmid_low, least(vmid_high, vmid_low + (select count(*) from taken_vmid)::int + {AHEAD.format(count="($1->>'count')::int")})
    ) n left join taken_vmid on taken_vmid.vmid = n
    where taken_vmid.vmid is null and ($1->>'hold')::bool order by n limit {AHEAD.format(count="($1->>'count')::int")}
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
        'seen', (select count(*) from candidate c where c.network_id = pool.id),
        'free', array(
            select held.ip from (select ip from candidate c where c.network_id = pool.id order by c.place offset 0) held
            where not ($1->>'hold')::bool
               or pg_try_advisory_xact_lock(hashtextextended('ip ' || pool.cluster_id || ' ' || pool.scope || ' ' || held.ip, 0))
            limit pool.need)
    )) from pool),
    'rooms', {placement.ROOMS.format(cluster='(select id from home)')},
    'held', case when ($1->>'hold')::bool and exists (select 1 from home) then json_build_object(
        'workspace_id', nextval('workspace_id_seq'), 'run_id', nextval('run_id_seq'),
        'server_ids', array(select nextval('server_id_seq') from generate_series(1, ($1->>'count')::int)),
        'outbox_ids', array(select nextval('outbox_id_seq') from generate_series(1, ($1->>'count')::int + 2)),
        'seen', (select count(*) from free_vmid),
        'vmids', array(
            select held.vmid from (select vmid from free_vmid order by place offset 0) held
            where pg_try_advisory_xact_lock(hashtextextended('vmid ' || (select id from home) || ' ' || held.vmid, 0))
            limit ($1->>'count')::int),
        'project_id', (select id from project order by id limit 1),
        'installation', (select value->>'id' from setting where key = 'installation_id')
    ) end
)::text
""")  # noqa: S608 - put together from constants


def read(session: Session, asked: Asked) -> Stock:
    """Return everything that a request is checked against; one round trip."""
    found = _STOCK.one(session, {
        "template": asked.template, "preset": asked.preset, "names": asked.names, "count": len(asked.names), "hold": asked.hold, "vmids": asked.vmids,
        "networks": [{"name": name, "need": need} for name, need in asked.networks],
    })  # fmt: skip
    return Stock(
        template=Template(**found["template"]) if found["template"] else None,
        template_known=found["template_known"],
        preset=Preset(**found["preset"]) if found["preset"] else None,
        cluster=Cluster(**found["cluster"]) if found["cluster"] else None,
        ours=frozenset(found["ours"] or ()),
        foreign=frozenset(found["foreign"] or ()),
        networks={p["asked"]: Pool(Network(**p["network"]), p["free"], p["seen"]) for p in found["pools"] or ()},
        rooms=placement.rooms_of(found["rooms"]),
        held=Held(**found["held"]) if found["held"] else None,
        vmids_taken=frozenset(found["vmids_taken"] or ()),
    )

