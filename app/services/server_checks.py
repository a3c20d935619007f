"""What speaks against a request for servers: the schema's faults and the database's, all together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain import placement, server_spec
from app.domain.placement import Choice, Misfit, Source, Want, WantedDisk
from app.errors import FieldError
from app.models import Cluster, Network, Node, Preset, Server, Template
from app.schemas.faults import field_errors
from app.schemas.servers import DiskWanted, NicWanted, ServerChange, ServerCreate, ServerDraft, ServerRow
from app.services import networks, server_devices, server_rows, server_stock
from app.services.server_rows import Each
from app.services.server_stock import Asked, Held, Stock


@dataclass(frozen=True)
class Wanted:
    """A request without faults, with everything it left open decided."""

    request: ServerCreate
    names: list[str]
    template: Template
    cluster: Cluster
    interfaces: list[str]
    networks: list[tuple[Network, str | None]]
    choices: list[Choice]
    each: list[Each]  # one a server
    addresses: dict[int, list[str]]  # by network: free ones, those of this transaction when `held`
    held: Held | None


_FIGURES = {"count", "cores", "memory_mib", "disks", "servers"}


@dataclass(frozen=True)
class Look:
    """A request as far as it could be decided; `wanted` is None when something speaks against it, `stock` when nothing could be read."""

    faults: list[FieldError]
    wanted: Wanted | None = None
    stock: Stock | None = None
    values: Any = None
    names: list[str] = field(default_factory=list)  # none while they are faulty
    networks: list[tuple[Network, str | None]] = field(default_factory=list)
    each: list[Each] = field(default_factory=list)  # one a server, none while there is no template
    wants: list[Want] = field(default_factory=list)  # the same, as placement asks; none while a figure cannot be read


@dataclass
class _Draft:
    """What is right so far; `found` collects what is not."""

    session: Session
    values: Any  # a ServerCreate, or a ServerDraft in which anything may be missing
    found: list[FieldError]
    stock: Stock = field(init=False)
    rows: list[ServerRow] = field(init=False)  # none when the schema found something against one of them

    def __post_init__(self) -> None:
        self.rows = list(self.values.servers or ()) if self.good("servers") else []

    def bad(self, where: str, code: str, **args: Any) -> None:
        self.found.append(FieldError(where, code, args))

    def good(self, name: str) -> bool:
        """True when the schema found nothing against this field."""
        return not any(f.field.split(".")[0] == name for f in self.found)


def examine(session: Session, raw: Mapping[str, Any], *, hold: bool = False) -> tuple[Wanted | None, list[FieldError]]:
    """Return the decided request, or all of its faults; with `hold` what it needs is this transaction's."""
    found = look(session, raw, hold=hold)
    return found.wanted, found.faults


def look(session: Session, raw: Mapping[str, Any], *, hold: bool = False) -> Look:
    """Decide what of a request can be decided, and find all that speaks against it."""
    found: list[FieldError] = []
    faulty: set[str] = set()
    try:
        request: Any = ServerCreate.model_validate(raw)
    except ValidationError as exc:
        found = field_errors(exc)
        if not isinstance(raw, Mapping):
            return Look(found)
        faulty = {f.field.split(".")[0] for f in found}
        request = ServerDraft.model_validate({k: v for k, v in raw.items() if k not in faulty and k in ServerCreate.model_fields})
    draft = _Draft(session, request, found)
    names = _names(draft)
    count = len(names) or (request.count if draft.good("count") else 1)
    draft.stock = server_stock.read(session, _asked(draft, names, count, hold and not found))
    template, preset, cluster = _template(draft), _preset(draft), draft.stock.cluster
    if cluster is None:
        if not template and draft.good("template"):
            draft.bad("template", "no_cluster")
        return Look(found, None, draft.stock, request, names)
    _names_free(draft, names)
    nics = _networks(draft, count)
    if template is None:
        _node(draft)
        return Look(found, None, draft.stock, request, names, nics)
    each = _each(draft, template, _sizes(draft, template, preset), nics, count)
    wants = _wants(draft, nics, each)
    choices = _places(draft, template, wants)
    _vmids(draft, cluster, count)
    wanted = None if found else Wanted(
        request, names, template, cluster, interfaces(template.disk_interface, len(each[0].disks)), nics, choices, each,
        {pool.network.id: pool.free for pool in draft.stock.networks.values()}, draft.stock.held,
    )  # fmt: skip
    return Look(found, wanted, draft.stock, request, names, nics, each, [] if faulty & _FIGURES else wants)


def _asked(draft: _Draft, names: list[str], count: int, hold: bool) -> Asked:
    values, good = draft.values, draft.good
    needed: dict[str | None, int] = {}
    if good("networks"):
        nics = [(nic.network, nic.ip) for nic in values.networks or ()] or [(None, None)]
        for network, ip in nics:
            # Also for servers that name an address: theirs may be among the free ones.
            needed[network] = needed.get(network, 0) + (0 if ip else count)
    return Asked(
        values.template if good("template") else None, values.preset if good("preset") else None, names, list(needed.items()), hold,
        [row.vmid for row in draft.rows if row.vmid],
    )  # fmt: skip


def _names(draft: _Draft) -> list[str]:
    if draft.rows:
        names = [row.name.strip() for row in draft.rows]
        draft.found += server_rows.name_faults(names)
        if draft.values.name and (fault := server_spec.name_fault(draft.values.name)):
            draft.bad("name", fault, limit=server_spec.NAME_BYTES)
        return names
    name, count = draft.values.name, draft.values.count if draft.good("count") else 1
    if not draft.good("name") or name is None:
        return []
    fault = server_spec.name_fault(name, count)
    if fault:
        draft.bad("name", fault, limit=server_spec.NAME_BYTES)
        return []
    return server_spec.batch_names(name, count)


def _names_free(draft: _Draft, names: list[str]) -> None:
    if draft.rows:
        draft.found += server_rows.taken_faults(names, draft.stock.ours, "name_taken")
        draft.found += server_rows.taken_faults(names, draft.stock.foreign - draft.stock.ours, "name_taken_in_proxmox")
    elif draft.stock.ours:
        draft.bad("name", "name_taken", name=", ".join(sorted(draft.stock.ours)[:3]))
    elif draft.stock.foreign:
        draft.bad("name", "name_taken_in_proxmox", name=", ".join(sorted(draft.stock.foreign)[:3]))


def _template(draft: _Draft) -> Template | None:
    name = draft.values.template
    if not draft.good("template") or name is None:
        return None
    if draft.stock.template is None:
        draft.bad("template", "template_gone" if draft.stock.template_known else "template_unknown", name=name)
    return draft.stock.template


def _preset(draft: _Draft) -> Preset | None:
    name = draft.values.preset
    if not draft.good("preset") or name is None:
        return None
    if draft.stock.preset is None:
        draft.bad("preset", "preset_unknown", name=name)
    return draft.stock.preset


def _vmids(draft: _Draft, cluster: Cluster, count: int) -> None:
    held = draft.stock.held
    draft.found += server_rows.vmid_faults(draft.rows, draft.stock.vmids_taken, cluster)
    if held is not None and held.seen < count - sum(1 for row in draft.rows if row.vmid):
        draft.bad("count", "vmids_exhausted", low=cluster.vmid_low, high=cluster.vmid_high)


def shortage(wanted: Wanted) -> list[FieldError]:
    """Return what this transaction could not get enough of: others have the rest."""
    faults, count = [], len(wanted.names)
    if wanted.held is not None and len(wanted.held.vmids) < sum(1 for one in wanted.each if not one.vmid):
        faults.append(FieldError("count", "vmids_exhausted", {"low": wanted.cluster.vmid_low, "high": wanted.cluster.vmid_high}))
    for index, (network, ip) in enumerate(wanted.networks):
        needed = count * sum(1 for n, i in wanted.networks[: index + 1] if n.id == network.id and not i)
        free = len(wanted.addresses.get(network.id, ()))
        if not ip and free < needed:
            faults.append(FieldError(f"networks.{index}.network", "addresses_exhausted", {"network": network.name, "free": free, "count": needed}))
    return faults


def _sizes(draft: _Draft, template: Template, preset: Preset | None) -> Each:
    """Explicit numbers first, then the preset's, then the template's own."""
    values = draft.values
    cores = values.cores if draft.good("cores") and values.cores else preset.cores if preset else template.cores
    memory = values.memory_mib if draft.good("memory_mib") and values.memory_mib else preset.memory_mib if preset else template.memory_mib
    if draft.good("memory_mib") and memory < template.min_memory_mib:
        draft.bad("memory_mib", "memory_below_template", template=template.name, low=template.min_memory_mib)
    if draft.good("disks") and values.disks:
        disks = list(values.disks)
    else:
        disks = [DiskWanted(size_gib=max(preset.disk_gib if preset else 0, template.disk_gib))]
    if draft.good("disks") and disks[0].size_gib < template.disk_gib:
        draft.bad("disks.0.size_gib", "disk_below_template", template=template.name, low=template.disk_gib)
    return Each(cores, memory, tuple(disks), node=(values.node if draft.good("node") else None) or None)


def _networks(draft: _Draft, count: int) -> list[tuple[Network, str | None]]:
    if not draft.good("networks"):
        return []
    wanted: Sequence[NicWanted] | None = draft.values.networks
    pools = draft.stock.networks
    if not wanted:
        if None not in pools:
            draft.bad("networks", "no_network")
            return []
        chosen: list[tuple[Network, str | None]] = [(pools[None].network, None)]
    else:
        chosen = []
        for index, nic in enumerate(wanted):
            if nic.network in pools:
                chosen.append((pools[nic.network].network, nic.ip))
            else:
                draft.bad(f"networks.{index}.network", "network_unknown", name=nic.network)
    seen = {pool.network.id: pool.seen for pool in pools.values()}
    for index, (network, ip) in enumerate(chosen):
        where = f"networks.{index}.ip"
        if ip and count > 1:
            draft.bad(where, "ip_for_one_only")
        elif ip and (code := networks.address_faults(draft.session, network, ip)):
            draft.bad(where, code, ip=ip, network=network.name, cidr=network.cidr, low=network.range_low, high=network.range_high)
        elif not ip:
            needed = count * sum(1 for n, i in chosen[: index + 1] if n.id == network.id and not i)
            if seen[network.id] < needed:
                draft.bad(f"networks.{index}.network", "addresses_exhausted", network=network.name, free=seen[network.id], count=needed)
    same = [(n.id, ip) for n, ip in chosen if ip]
    if len(set(same)) < len(same):
        draft.bad("networks", "ip_twice")
    return chosen


def _each(draft: _Draft, template: Template, usual: Each, nics: list[tuple[Network, str | None]], count: int) -> list[Each]:
    """Return what each server has for itself; where no rows say otherwise all are alike."""
    if not draft.rows:
        return [usual] * count
    each, found = server_rows.each(draft.session, draft.rows, usual, template, nics[0][0] if nics else None)
    draft.found += found
    return each


def _node(draft: _Draft) -> None:
    name = draft.values.node
    if draft.good("node") and name:
        node = next((room for room in draft.stock.rooms if room.name == name), None)
        if node is None:
            draft.bad("node", "node_unknown", node=name)
        elif not node.online:
            draft.bad("node", "node_offline", node=name)


def _wants(draft: _Draft, nics: list[tuple[Network, str | None]], each: list[Each]) -> list[Want]:
    bridges = frozenset(n.bridge for n, _ in nics)
    return [Want(one.cores, one.memory_mib, tuple(WantedDisk(d.size_gib, d.storage) for d in one.disks), one.node, bridges) for one in each]


def _places(draft: _Draft, template: Template, wants: list[Want]) -> list[Choice]:
    placed = placement.choose(wants, draft.stock.rooms, source_of(template))
    choices = []
    for index, item in enumerate(placed):
        if isinstance(item, Misfit):
            # One of several equal servers fits nowhere: said once, and not beside a fault of the same field.
            where = server_rows.misfit_field(item, index, draft.rows)
            if not any(f.field == where for f in draft.found) and (where.startswith("servers.") or draft.good(where.split(".")[0])):
                draft.bad(where, item.code, **item.args)
            return []
        choices.append(item)
    return choices


def source_of(template: Template) -> Source:
    """Return where clones of a template come from."""
    return Source(template.node_name, template.storage, template.storage_shared)


def interfaces(first: str, count: int) -> list[str]:
    """Return the disk interfaces: the template's, then the next free ones of the same bus."""
    bus, number = re.fullmatch(r"([a-z]+)(\d+)", first).groups() if re.fullmatch(r"([a-z]+)(\d+)", first) else ("scsi", "0")  # type: ignore[union-attr]  # matched above
    return [f"{bus}{int(number) + i}" for i in range(count)]


def examine_change(
    session: Session, server: Server, request: ServerChange, now: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the new values of a change that differ from what the server will be, or the faults."""
    found: list[FieldError] = []
    values: dict[str, Any] = {}
    node = session.scalars(select(Node).where(Node.cluster_id == server.cluster_id, Node.name == server.node_name)).first()
    if request.cores is not None:
        values["cores"] = request.cores
        if node and node.cores and request.cores > node.cores:
            found.append(FieldError("cores", "node_too_small_cores", {"node": node.name, "cores": node.cores}))
    if request.memory_mib is not None:
        values["memory_mib"] = request.memory_mib
        template = session.get(Template, server.template_id) if server.template_id else None
        if template and request.memory_mib < template.min_memory_mib:
            found.append(FieldError("memory_mib", "memory_below_template", {"template": template.name, "low": template.min_memory_mib}))
        elif node and request.memory_mib > node.memory_mib > 0:
            found.append(FieldError("memory_mib", "node_too_small_memory", {"node": node.name, "memory_mib": node.memory_mib}))
    if request.tags is not None:
        values["tags"] = request.tags
    if request.description is not None:
        values["description"] = request.description
    if request.disks is not None or request.remove_disks:
        values["disks"] = server_devices.disks(session, server, request, list(now["disks"]), found)
    if request.add_networks or request.remove_networks:
        values["nics"] = server_devices.nics(session, server, request, list(now["nics"]), found)
    changed = {k: v for k, v in values.items() if v != now[k]}
    if not changed and not found:
        found.append(FieldError("body", "nothing_to_change"))
    return changed, found
