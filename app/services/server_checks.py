"""What speaks against a request for servers: the schema's faults and the database's, all together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from app.domain import placement, server_spec
from app.domain.placement import Choice, Misfit, Source, Want, WantedDisk
from app.errors import FieldError
from app.models import Cluster, Guest, Network, Node, Preset, Server, Template
from app.schemas.faults import field_errors
from app.schemas.servers import DiskWanted, NicWanted, ServerChange, ServerCreate, ServerDraft
from app.services import networks, presets, reservations, templates
from app.services import placement as rooms_service


@dataclass(frozen=True)
class Wanted:
    """A request without faults, with everything it left open decided."""

    request: ServerCreate
    names: list[str]
    template: Template
    cluster: Cluster
    cores: int
    memory_mib: int
    disks: list[DiskWanted]
    interfaces: list[str]
    networks: list[tuple[Network, str | None]]
    choices: list[Choice]
    free_addresses: dict[int, list[str]]  # by network: some that were free when this was examined


@dataclass
class _Draft:
    """What is right so far; `found` collects what is not."""

    session: Session
    values: Any  # a ServerCreate, or a ServerDraft in which anything may be missing
    found: list[FieldError]
    free_addresses: dict[int, list[str]] = field(default_factory=dict)

    def bad(self, where: str, code: str, **args: Any) -> None:
        self.found.append(FieldError(where, code, args))

    def good(self, name: str) -> bool:
        """True when the schema found nothing against this field."""
        return not any(f.field.split(".")[0] == name for f in self.found)


def examine(session: Session, raw: Mapping[str, Any]) -> tuple[Wanted | None, list[FieldError]]:
    """Return the decided request, or all of its faults."""
    found: list[FieldError] = []
    try:
        request: Any = ServerCreate.model_validate(raw)
    except ValidationError as exc:
        found = field_errors(exc)
        if not isinstance(raw, Mapping):
            return None, found
        faulty = {f.field.split(".")[0] for f in found}
        request = ServerDraft.model_validate({k: v for k, v in raw.items() if k not in faulty and k in ServerCreate.model_fields})
    draft = _Draft(session, request, found)
    names = _names(draft)
    template = _template(draft)
    preset = _preset(draft)
    cluster = session.get(Cluster, template.cluster_id) if template else _only_cluster(session)
    if cluster is None:
        if not template and draft.good("template"):
            draft.bad("template", "no_cluster")
        return None, draft.found
    _names_free(draft, cluster, names)
    nics = _networks(draft, cluster, len(names) or 1)
    if template is None:
        _node(draft, cluster)
        return None, draft.found
    wanted = _sizes(draft, template, preset)
    choices = _places(draft, cluster, template, wanted, nics, names)
    if draft.found:
        return None, draft.found
    disks = wanted[2]
    return Wanted(
        request, names, template, cluster, wanted[0], wanted[1], disks, interfaces(template.disk_interface, len(disks)), nics, choices,
        draft.free_addresses,
    ), []  # fmt: skip


def _only_cluster(session: Session) -> Cluster | None:
    return session.scalars(select(Cluster).where(Cluster.enabled).order_by(Cluster.id)).first()


def _names(draft: _Draft) -> list[str]:
    name, count = draft.values.name, draft.values.count if draft.good("count") else 1
    if not draft.good("name") or name is None:
        return []
    fault = server_spec.name_fault(name, count)
    if fault:
        draft.bad("name", fault, limit=server_spec.NAME_BYTES)
        return []
    return server_spec.batch_names(name, count)


def _names_free(draft: _Draft, cluster: Cluster, names: list[str]) -> None:
    if not names:
        return
    ours = select(Server.vmid).where(Server.cluster_id == cluster.id, Server.deleted_at.is_(None))
    found = draft.session.execute(
        select(literal(True), Server.name).where(Server.cluster_id == cluster.id, Server.name.in_(names), Server.deleted_at.is_(None))
        .union_all(select(literal(False), Guest.name).where(
            Guest.cluster_id == cluster.id, Guest.name.in_(names), Guest.vmid.not_in(ours)))
    ).all()  # fmt: skip
    taken = {name for is_ours, name in found if is_ours}
    foreign = {name for _, name in found}
    if taken:
        draft.bad("name", "name_taken", name=", ".join(sorted(taken)[:3]))
    elif foreign:
        draft.bad("name", "name_taken_in_proxmox", name=", ".join(sorted(foreign)[:3]))


def _template(draft: _Draft) -> Template | None:
    name = draft.values.template
    if not draft.good("template") or name is None:
        return None
    template = templates.by_name(draft.session, name)
    if template is None:
        gone = draft.session.scalars(select(Template).where(Template.name == name)).first()
        draft.bad("template", "template_gone" if gone else "template_unknown", name=name)
    return template


def _preset(draft: _Draft) -> Preset | None:
    name = draft.values.preset
    if not draft.good("preset") or name is None:
        return None
    preset = presets.by_name(draft.session, name)
    if preset is None:
        draft.bad("preset", "preset_unknown", name=name)
    return preset


def _sizes(draft: _Draft, template: Template, preset: Preset | None) -> tuple[int, int, list[DiskWanted]]:
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
    return cores, memory, disks


def _networks(draft: _Draft, cluster: Cluster, count: int) -> list[tuple[Network, str | None]]:
    if not draft.good("networks"):
        return []
    wanted: Sequence[NicWanted] | None = draft.values.networks
    if not wanted:
        network = networks.default_of(draft.session, cluster.id)
        if network is None:
            draft.bad("networks", "no_network")
            return []
        chosen: list[tuple[Network, str | None]] = [(network, None)]
    else:
        chosen = []
        for index, nic in enumerate(wanted):
            found = networks.by_name(draft.session, nic.network, cluster.id)
            if found is None:
                draft.bad(f"networks.{index}.network", "network_unknown", name=nic.network)
            else:
                chosen.append((found, nic.ip))
    for index, (network, ip) in enumerate(chosen):
        where = f"networks.{index}.ip"
        if ip and count > 1:
            draft.bad(where, "ip_for_one_only")
        elif ip and (code := networks.address_faults(draft.session, network, ip)):
            draft.bad(where, code, ip=ip, network=network.name, cidr=network.cidr, low=network.range_low, high=network.range_high)
        elif not ip:
            needed = count * sum(1 for n, i in chosen[: index + 1] if n.id == network.id and not i)
            # More than needed, for when somebody else takes some of them at the same moment.
            free = networks.free_addresses(draft.session, network, needed + reservations.SPREAD)
            draft.free_addresses[network.id] = free
            if len(free) < needed:
                draft.bad(f"networks.{index}.network", "addresses_exhausted", network=network.name, free=len(free), count=needed)
    same = [(n.id, ip) for n, ip in chosen if ip]
    if len(set(same)) < len(same):
        draft.bad("networks", "ip_twice")
    return chosen


def _node(draft: _Draft, cluster: Cluster) -> None:
    name = draft.values.node
    if draft.good("node") and name:
        node = draft.session.scalars(select(Node).where(Node.cluster_id == cluster.id, Node.name == name)).first()
        if node is None:
            draft.bad("node", "node_unknown", node=name)
        elif not node.online:
            draft.bad("node", "node_offline", node=name)


def _places(
    draft: _Draft, cluster: Cluster, template: Template, sizes: tuple[int, int, list[DiskWanted]],
    nics: list[tuple[Network, str | None]], names: list[str],
) -> list[Choice]:  # fmt: skip
    cores, memory, disks = sizes
    node = draft.values.node if draft.good("node") else None
    want = Want(
        cores, memory, tuple(WantedDisk(d.size_gib, d.storage) for d in disks), node, frozenset(n.bridge for n, _ in nics)
    )
    source = Source(template.node_name, template.storage, template.storage_shared)
    placed = placement.choose([want] * (len(names) or 1), rooms_service.rooms(draft.session, cluster.id), source)
    choices = []
    for item in placed:
        if isinstance(item, Misfit):
            # One of several equal servers fits nowhere: said once, and not beside a fault of the same field.
            if draft.good(item.field.split(".")[0]):
                draft.bad(item.field, item.code, **item.args)
            return []
        choices.append(item)
    return choices


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
    if request.disks is not None:
        values["disks"] = _new_disks(session, server, request.disks, list(now["disks"]), found)
    changed = {k: v for k, v in values.items() if v != now[k]}
    if not changed and not found:
        found.append(FieldError("body", "nothing_to_change"))
    return changed, found


def _new_disks(
    session: Session, server: Server, wanted: Sequence[DiskWanted], now: Sequence[Mapping[str, Any]], found: list[FieldError]
) -> list[dict[str, Any]]:
    rooms = {r.name: r for r in rooms_service.rooms(session, server.cluster_id)}
    known = {s.name: s for s in rooms[server.node_name].storages} if server.node_name in rooms else {}
    if len(wanted) < len(now):
        found.append(FieldError("disks", "disk_missing", {"count": len(now)}))
    out: list[dict[str, Any]] = []
    grown: dict[str, int] = {}
    names = interfaces(str(now[0]["interface"]), max(len(wanted), len(now)))
    for index, disk in enumerate(wanted):
        where = f"disks.{index}"
        old = now[index] if index < len(now) else None
        storage = str(old["storage"]) if old else disk.storage or str(now[0]["storage"])
        if old and disk.storage not in (None, storage):
            found.append(FieldError(f"{where}.storage", "disk_storage_fixed", {"storage": storage}))
        if old and disk.size_gib < int(old["size_gib"]):
            found.append(FieldError(f"{where}.size_gib", "disk_shrink", {"low": int(old["size_gib"])}))
        room = known.get(storage)
        if not old and known and (room is None or not room.images):
            code = "storage_unknown" if room is None else "storage_not_images"
            found.append(FieldError(f"{where}.storage", code, {"storage": storage, "node": server.node_name}))
        more = disk.size_gib - (int(old["size_gib"]) if old else 0)
        grown[storage] = grown.get(storage, 0) + max(more, 0)
        if room and more > 0 and grown[storage] > room.free_gib:
            found.append(FieldError(f"{where}.size_gib", "storage_full", {"storage": storage, "node": server.node_name, "free_gib": room.free_gib}))
        out.append({"interface": str(old["interface"]) if old else names[index], "storage": storage, "size_gib": disk.size_gib})
    return out
