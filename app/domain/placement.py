"""Where new servers go: the node with the most free memory that fits, and a storage for each disk.

Pure: figures in, choices out. Servers of one batch count against each other.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StorageRoom:
    name: str
    shared: bool
    images: bool
    free_gib: int
    active: bool = True


@dataclass(frozen=True)
class NodeRoom:
    """`bridges` is None while they are not known."""

    name: str
    online: bool
    cores: int
    memory_mib: int
    memory_free_mib: int
    storages: tuple[StorageRoom, ...] = ()
    bridges: frozenset[str] | None = None


@dataclass(frozen=True)
class WantedDisk:
    size_gib: int
    storage: str | None = None


@dataclass(frozen=True)
class Want:
    """One server to place; the first disk is the clone of the template's."""

    cores: int
    memory_mib: int
    disks: tuple[WantedDisk, ...]
    node: str | None = None
    bridges: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Source:
    """The template: its node carries out the clone; from a local storage it can only clone onto itself."""

    node: str
    storage: str
    shared: bool


@dataclass(frozen=True)
class Choice:
    node: str
    storages: tuple[str, ...]  # one a disk


@dataclass(frozen=True)
class Misfit:
    """Why a server fits nowhere (or not where it was to go): `field` of the request, code and arguments."""

    field: str
    code: str
    args: dict[str, Any] = dataclasses.field(default_factory=dict)


# How far a node got: of several that do not fit, the one that came furthest tells why.
_ORDER = (
    "node_unknown", "node_offline", "template_on_other_node", "bridge_not_on_node", "node_too_small_cores",
    "node_too_small_memory", "node_memory_full", "storage_unknown", "storage_inactive", "storage_not_images",
    "storage_not_shared", "no_images_storage", "storage_full",
)  # fmt: skip


class _Rooms:
    """What is left while a batch is placed."""

    def __init__(self, nodes: Iterable[NodeRoom]) -> None:
        self.nodes = {n.name: n for n in nodes}
        self.memory_mib = {n.name: n.memory_free_mib for n in self.nodes.values()}
        self.placed = dict.fromkeys(self.nodes, 0)
        self.free_gib = {self.key(n.name, s): s.free_gib for n in self.nodes.values() for s in n.storages}

    @staticmethod
    def key(node: str, storage: StorageRoom) -> tuple[str, str]:
        return ("" if storage.shared else node, storage.name)

    def take(self, want: Want, choice: Choice) -> None:
        self.memory_mib[choice.node] -= want.memory_mib
        self.placed[choice.node] += 1
        known = {s.name: s for s in self.nodes[choice.node].storages}
        for disk, storage in zip(want.disks, choice.storages, strict=True):
            self.free_gib[self.key(choice.node, known[storage])] -= disk.size_gib


def choose(wants: Sequence[Want], nodes: Iterable[NodeRoom], source: Source) -> list[Choice | Misfit]:
    """Place each wanted server, in order; a misfit takes nothing from the others."""
    rooms = _Rooms(nodes)
    out: list[Choice | Misfit] = []
    for want in wants:
        found = _place(want, rooms, source)
        if isinstance(found, Choice):
            rooms.take(want, found)
        out.append(found)
    return out


@dataclass(frozen=True)
class Verdict:
    """What a node is for a batch: how many go there, or why none can; free memory before any does."""

    node: str
    memory_free_mib: int
    chosen: int = 0
    why: Misfit | None = None


@dataclass(frozen=True)
class Survey:
    """Every node, those chosen first, then those that would do; and why some servers go nowhere, one misfit each."""

    nodes: list[Verdict]
    unplaced: list[Misfit]


def survey(wants: Sequence[Want], nodes: Sequence[NodeRoom], source: Source) -> Survey:
    """Place the batch and tell of every node what it is to it. Where all go to a given node, the others are judged too."""
    found = choose(wants, nodes, source)
    unplaced = [f for f in found if isinstance(f, Misfit)]
    if any(m.field == "template" for m in unplaced):
        return Survey([], unplaced)
    placed = Counter(f.node for f in found if isinstance(f, Choice))
    rooms, kinds = _Rooms(nodes), list(dict.fromkeys(wants))
    out = []
    for node in rooms.nodes.values():
        fits = [_fit(kind, node, rooms, source) for kind in kinds]
        first = fits[0] if fits and all(isinstance(f, Misfit) for f in fits) else None
        why = first if isinstance(first, Misfit) and not placed[node.name] else None
        out.append(Verdict(node.name, max(node.memory_free_mib, 0), placed[node.name], why))
    return Survey(sorted(out, key=lambda v: (-v.chosen, v.why is not None, -v.memory_free_mib, v.node)), unplaced)


def _place(want: Want, rooms: _Rooms, source: Source) -> Choice | Misfit:
    home = rooms.nodes.get(source.node)
    if home is None or not home.online:
        return Misfit("template", "template_node_offline", {"node": source.node})
    if want.node is not None:
        if want.node not in rooms.nodes:
            return Misfit("node", "node_unknown", {"node": want.node})
        return _fit(want, rooms.nodes[want.node], rooms, source)
    found = [(node, _fit(want, node, rooms, source)) for node in rooms.nodes.values()]
    fitting = [(node, choice) for node, choice in found if isinstance(choice, Choice)]
    if not fitting:
        misfits = [m for _, m in found if isinstance(m, Misfit)]
        return max(misfits, key=lambda m: _ORDER.index(m.code))
    return min(fitting, key=lambda f: (-rooms.memory_mib[f[0].name], rooms.placed[f[0].name], f[0].name))[1]


def _fit(want: Want, node: NodeRoom, rooms: _Rooms, source: Source) -> Choice | Misfit:
    if not node.online:
        return Misfit("node", "node_offline", {"node": node.name})
    if not source.shared and node.name != source.node:
        return Misfit("node", "template_on_other_node", {"node": node.name, "template_node": source.node})
    missing = sorted(want.bridges - node.bridges) if node.bridges is not None else []
    if missing:
        return Misfit("networks", "bridge_not_on_node", {"node": node.name, "bridge": missing[0]})
    if node.cores and want.cores > node.cores:
        return Misfit("cores", "node_too_small_cores", {"node": node.name, "cores": node.cores})
    if want.memory_mib > node.memory_mib:
        return Misfit("memory_mib", "node_too_small_memory", {"node": node.name, "memory_mib": node.memory_mib})
    if want.memory_mib > rooms.memory_mib[node.name]:
        free = max(rooms.memory_mib[node.name], 0)
        return Misfit("node" if want.node else "memory_mib", "node_memory_full", {"node": node.name, "free_mib": free})
    return _storages(want, node, rooms, source)


def _reached(index: int, node: NodeRoom, storage: StorageRoom, source: Source) -> bool:
    """True when the disk can be made there: Proxmox clones to another node onto shared storage only."""
    return index > 0 or storage.shared or node.name == source.node


def _storages(want: Want, node: NodeRoom, rooms: _Rooms, source: Source) -> Choice | Misfit:
    known = {s.name: s for s in node.storages}
    left = {s.name: rooms.free_gib[rooms.key(node.name, s)] for s in node.storages}
    picked: list[str] = []
    for index, disk in enumerate(want.disks):
        where = f"disks.{index}.storage"
        if disk.storage is not None:
            name, storage = disk.storage, known.get(disk.storage)
            args = {"storage": name, "node": node.name}
            if storage is None:
                return Misfit(where, "storage_unknown", args)
            if not storage.active:
                return Misfit(where, "storage_inactive", args)
            if not storage.images:
                return Misfit(where, "storage_not_images", args)
            if not _reached(index, node, storage, source):
                return Misfit(where, "storage_not_shared", args | {"template_node": source.node})
        else:
            # The template's own storage first (nothing is copied between storages), then where the boot disk is.
            usable = [s.name for s in node.storages if s.active and s.images and _reached(index, node, s, source)]
            if not usable:
                return Misfit("node", "no_images_storage", {"node": node.name})
            liked = picked[0] if picked else source.storage
            room = [n for n in usable if left[n] >= disk.size_gib]
            name = liked if liked in room else max(room or usable, key=lambda n: (left[n], n))
        if left[name] < disk.size_gib:
            return Misfit(where if disk.storage else f"disks.{index}.size_gib", "storage_full",
                          {"storage": name, "node": node.name, "free_gib": max(left[name], 0)})  # fmt: skip
        left[name] -= disk.size_gib
        picked.append(name)
    return Choice(node.name, tuple(picked))
