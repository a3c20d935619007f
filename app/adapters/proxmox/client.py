"""The Proxmox API as typed calls, on proxmoxer. Every method raises one of errors.Proxmox*.

A client belongs to one thread of one process: make one where it is needed, close it after.

    with ProxmoxClient(access) as proxmox:
        proxmox.vm_status("pve1", 201)
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import quote

import requests
from proxmoxer.backends.https import JsonSerializer
from proxmoxer.core import ProxmoxResource, ResourceException

from app import tracing
from app.adapters import figures
from app.adapters.proxmox.errors import translate
from app.adapters.proxmox.session import READ_S, ProxmoxSession
from app.adapters.proxmox.types import (
    Access,
    BridgeInfo,
    Config,
    GuestResource,
    NodeResource,
    Resources,
    SnapshotInfo,
    SnapshotList,
    StorageResource,
    TaskEntry,
    TaskStatus,
    VmStatus,
)
from app.domain.action_state import ActionKind
from app.domain.usage import Timeframe, UsagePoint
from app.errors import ProxmoxRefused

GIB, MIB = 1024**3, 1024**2
SHUTDOWN_TIMEOUT_S = 120
_POWER: dict[ActionKind, dict[str, int]] = {
    ActionKind.START: {},
    ActionKind.SHUTDOWN: {"timeout": SHUTDOWN_TIMEOUT_S},
    ActionKind.STOP: {},
    ActionKind.REBOOT: {"timeout": SHUTDOWN_TIMEOUT_S},
    ActionKind.RESET: {},
}


class ProxmoxClient:
    """Connections to one cluster's API; nothing is sent before the first call."""

    def __init__(self, access: Access, read_s: float = READ_S) -> None:
        self._session = ProxmoxSession(access, read_s)
        self._api = ProxmoxResource(
            base_url=access.url.rstrip("/") + "/api2/json", session=self._session, serializer=JsonSerializer()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    # ---- cluster
    def version(self) -> str:
        """Proxmox's release, like "9.0.3"."""
        return str(_mapping(self._do("reading the version", self._api.version.get)).get("version", ""))

    def permissions(self) -> dict[str, dict[str, object]]:
        """What our account may do: path → privileges."""
        found = _mapping(self._do("reading permissions", self._api.access.permissions.get))
        return {str(path): dict(_mapping(privileges)) for path, privileges in found.items()}

    def resources(self) -> Resources:
        """Nodes, storages and guests, in one call."""
        items = _rows(self._do("reading the cluster's resources", self._api.cluster.resources.get))
        return Resources(
            nodes=tuple(_node(i) for i in items if i.get("type") == "node"),
            storages=tuple(_storage(i) for i in items if i.get("type") == "storage"),
            guests=tuple(_guest(i) for i in items if i.get("type") in ("qemu", "lxc")),
        )

    def cluster_tasks(self) -> list[TaskEntry]:
        """The cluster's recent tasks, newest first."""
        return [_task(i) for i in _rows(self._do("reading tasks", self._api.cluster.tasks.get))]

    # ---- nodes
    def bridges(self, node: str) -> list[BridgeInfo]:
        rows = _rows(
            self._do(f"reading bridges of {node}", lambda: self._api.nodes(node).network.get(type="any_bridge"))
        )
        return [BridgeInfo(str(r["iface"]), bool(_int(r.get("bridge_vlan_aware")))) for r in rows if r.get("iface")]

    def storages(self, node: str) -> list[StorageResource]:
        """The node's storages with what they take and how much room they have now."""
        rows = _rows(self._do(f"reading storages of {node}", self._api.nodes(node).storage.get))
        return [
            StorageResource(
                node, str(r["storage"]), str(r.get("type", "")), bool(_int(r.get("shared"))), bool(_int(r.get("active", 1))),
                str(r.get("content", "")), _int(r.get("total")) // GIB, math.ceil(_int(r.get("used")) / GIB),
            )
            for r in rows
            if r.get("storage")
        ]  # fmt: skip

    def node_tasks(self, node: str, vmid: int) -> list[TaskEntry]:
        """The node's tasks for a VM, running ones included, newest first."""
        call = self._api.nodes(node).tasks
        rows = _rows(self._do(f"reading tasks of VM {vmid}", lambda: call.get(vmid=vmid, source="all", limit=50)))
        return [_task({"node": node, **r}) for r in rows]

    # ---- VMs
    def vm_config(self, node: str, vmid: int) -> Config:
        """The VM's config with pending changes merged, as text."""
        found = self._do(f"reading the config of VM {vmid}", self._api.nodes(node).qemu(vmid).config.get)
        return {str(k): str(v) for k, v in _mapping(found).items()}

    def container_config(self, node: str, vmid: int) -> Config:
        found = self._do(f"reading the config of container {vmid}", self._api.nodes(node).lxc(vmid).config.get)
        return {str(k): str(v) for k, v in _mapping(found).items()}

    def pending(self, node: str, vmid: int) -> list[str]:
        """Keys of the VM's config whose new value, or removal, waits for its next start."""
        rows = _rows(self._do(f"reading what is pending for VM {vmid}", self._api.nodes(node).qemu(vmid).pending.get))
        return sorted(str(r["key"]) for r in rows if "pending" in r or r.get("delete"))

    def vm_status(self, node: str, vmid: int) -> VmStatus:
        call = self._api.nodes(node).qemu(vmid).status.current.get
        found = _mapping(self._do(f"reading the status of VM {vmid}", call))
        return VmStatus(
            str(found.get("status", "unknown")),
            str(found.get("qmpstatus", "")),
            str(found["lock"]) if found.get("lock") else None,
            _int(found.get("uptime")),
        )

    def vm_rrddata(self, node: str, vmid: int, timeframe: Timeframe) -> list[UsagePoint]:
        """What the VM used, oldest first; a step is a minute for an hour, up to half an hour and more for a month."""
        call = self._api.nodes(node).qemu(vmid).rrddata
        rows = _rows(self._do(f"reading the usage of VM {vmid}", lambda: call.get(timeframe=timeframe.value, cf="AVERAGE")))
        return sorted(map(_usage, rows), key=lambda point: point.at_s)

    def agent_answers(self, node: str, vmid: int) -> bool:
        """True when the guest agent answers."""
        return self._agent_interfaces(node, vmid) is not None

    def _agent_interfaces(self, node: str, vmid: int) -> Mapping[str, Any] | None:
        call = self._api.nodes(node).qemu(vmid).agent("network-get-interfaces").get
        try:
            return _mapping(self._do(f"asking the agent of VM {vmid}", call))
        except ProxmoxRefused:
            return None

    def agent_addresses(self, node: str, vmid: int) -> list[str]:
        """The addresses the guest agent tells, without loopback and link-local; none while it does not answer."""
        found = self._agent_interfaces(node, vmid)
        if found is None:
            return []
        out = [
            str(address.get("ip-address", ""))
            for nic in _rows(found.get("result") or [])
            if nic.get("name") != "lo"
            for address in _rows(nic.get("ip-addresses") or [])
        ]
        return [a for a in out if a and not a.lower().startswith(("127.", "169.254.", "fe80:")) and a != "::1"]

    def power(self, node: str, vmid: int, kind: ActionKind) -> str:
        """Begin a power action; returns the task's UPID."""
        call = getattr(self._api.nodes(node).qemu(vmid).status, kind.value)
        return self._upid(f"{kind.value} of VM {vmid}", lambda: call.post(**_POWER[kind]))

    # ---- snapshots
    def snapshots(self, node: str, vmid: int) -> SnapshotList:
        """The VM's snapshots, those that are being made or deleted included."""
        rows = _rows(self._do(f"reading snapshots of VM {vmid}", self._api.nodes(node).qemu(vmid).snapshot.get))
        now = next((r for r in rows if r.get("name") == "current"), {})
        items = [_snapshot(r) for r in rows if r.get("name") not in (None, "current")]
        return SnapshotList(tuple(sorted(items, key=lambda s: s.made_at_s)), now.get("parent") or None, bool(_int(now.get("running"))))

    def snapshot_config(self, node: str, vmid: int, name: str) -> Config:
        """The VM's config as a snapshot keeps it."""
        call = self._api.nodes(node).qemu(vmid).snapshot(name).config.get
        return {str(k): str(v) for k, v in _mapping(self._do(f"reading snapshot {name} of VM {vmid}", call)).items()}

    def snapshot_create(self, node: str, vmid: int, name: str, description: str, memory: bool) -> str:
        """Begin to make a snapshot; returns the task's UPID."""
        call, values = self._api.nodes(node).qemu(vmid).snapshot, {"snapname": name, "description": description}
        return self._upid(f"snapshot {name} of VM {vmid}", lambda: call.post(**values, vmstate=int(memory)))

    def snapshot_rollback(self, node: str, vmid: int, name: str) -> str:
        """Begin to put the VM back to a snapshot; returns the task's UPID."""
        call = self._api.nodes(node).qemu(vmid).snapshot(name).rollback
        return self._upid(f"rollback of VM {vmid} to {name}", call.post)

    def snapshot_delete(self, node: str, vmid: int, name: str) -> str:
        """Begin to delete a snapshot; returns the task's UPID."""
        call = self._api.nodes(node).qemu(vmid).snapshot(name)
        return self._upid(f"deleting snapshot {name} of VM {vmid}", call.delete)

    def delete_config_keys(self, node: str, vmid: int, keys: list[str]) -> None:
        self._do(
            f"deleting {','.join(keys)} of VM {vmid}",
            lambda: self._api.nodes(node).qemu(vmid).config.put(delete=",".join(keys)),
        )

    # ---- tasks
    def task_status(self, node: str, upid: str) -> TaskStatus:
        found = _mapping(self._do("reading a task", self._api.nodes(node).tasks(_segment(upid)).status.get))
        running = found.get("status") == "running"
        return TaskStatus(upid, running, None if running else str(found.get("exitstatus") or "unknown"))

    def task_log(self, node: str, upid: str, start: int = 0, limit: int = 500) -> list[str]:
        """Lines of a task's log, from line `start` (0 is the first)."""
        call = self._api.nodes(node).tasks(_segment(upid)).log
        rows = _rows(self._do("reading a task's log", lambda: call.get(start=start, limit=limit)))
        return [str(r.get("t", "")) for r in rows if r.get("t") != "no content"]

    def clock_s(self) -> float | None:
        """The cluster's clock at its last answer, in whole seconds since the epoch; None when it does not tell."""
        return self._session.clock_s

    # ---- below the methods
    def _do(self, doing: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            with tracing.span("proxmox", doing=doing):
                return call()
        except (ResourceException, requests.RequestException, OSError, UnicodeError) as exc:
            error = translate(exc, doing)
            figures.count(figures.PROXMOX_ERRORS, error.code)
            raise error from exc
        finally:
            figures.took(figures.PROXMOX_S, time.perf_counter() - began)

    def _upid(self, doing: str, call: Callable[[], Any]) -> str:
        answer = self._do(doing, call)
        if not isinstance(answer, str) or not answer.startswith("UPID:"):
            raise ProxmoxRefused(doing, reason="unexpected answer")
        return answer


def upid_node(upid: str) -> str:
    """Return the node a UPID belongs to."""
    return upid.split(":")[1]


def _segment(upid: str) -> list[str]:
    return [quote(upid, safe=":@!")]


def _mapping(value: object) -> Mapping[str, Any]:
    # proxmoxer hands over {"errors": bytes} for a body that is no JSON: a web server, but not Proxmox.
    if not isinstance(value, Mapping) or isinstance(value.get("errors"), bytes):
        raise ProxmoxRefused("reading an answer", reason="not_proxmox")
    return value


def _rows(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
        raise ProxmoxRefused("reading an answer", reason="not_proxmox")
    return value


def _int(value: object) -> int:
    try:
        return int(float(str(value))) if value not in (None, "", True, False) else int(bool(value))
    except ValueError:
        return 0


def _percent(part: object, whole: object = 1) -> int:
    try:
        return round(100 * float(str(part or 0)) / float(str(whole or 0)))
    except (ValueError, ZeroDivisionError):
        return 0


def _node(item: Mapping[str, Any]) -> NodeResource:
    return NodeResource(
        str(item.get("node", "")), item.get("status") == "online", _int(item.get("maxcpu")), _percent(item.get("cpu")),
        _int(item.get("maxmem")) // MIB, _int(item.get("mem")) // MIB, _int(item.get("uptime")),
    )  # fmt: skip


def _storage(item: Mapping[str, Any]) -> StorageResource:
    return StorageResource(
        str(item.get("node", "")), str(item.get("storage", "")), str(item.get("plugintype", "")),
        bool(_int(item.get("shared"))), item.get("status") == "available", str(item.get("content", "")),
        _int(item.get("maxdisk")) // GIB, math.ceil(_int(item.get("disk")) / GIB),
    )  # fmt: skip


def _guest(item: Mapping[str, Any]) -> GuestResource:
    running = item.get("status") == "running"
    return GuestResource(
        _int(item.get("vmid")), str(item.get("name") or "")[:128], str(item.get("node", "")), str(item["type"]),
        str(item.get("status", "unknown")), bool(_int(item.get("template"))),
        str(item["lock"]) if item.get("lock") else None, _int(item.get("maxcpu")), _int(item.get("maxmem")) // MIB,
        math.ceil(_int(item.get("maxdisk")) / GIB), str(item.get("tags") or "")[:500], _int(item.get("uptime")),
        _percent(item.get("cpu")) if running else 0,
        _percent(item.get("mem"), item.get("maxmem")) if running else 0,
    )  # fmt: skip


def _usage(item: Mapping[str, Any]) -> UsagePoint:
    names = ("cpu", "mem", "maxmem", "netin", "netout", "diskread", "diskwrite")
    return UsagePoint(_int(item.get("time")), *map(_number, map(item.get, names)))


def _number(value: object) -> float | None:
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _snapshot(item: Mapping[str, Any]) -> SnapshotInfo:
    return SnapshotInfo(
        str(item["name"]), str(item.get("description") or ""), bool(_int(item.get("vmstate"))), _int(item.get("snaptime")),
        str(item["parent"]) if item.get("parent") else None, str(item.get("snapstate") or ""),
    )  # fmt: skip


def _task(item: Mapping[str, Any]) -> TaskEntry:
    status = item.get("status")
    return TaskEntry(
        str(item.get("upid", "")), str(item.get("node", "")), str(item.get("type", "")), str(item.get("id", "")),
        str(item.get("user", "")), _int(item.get("starttime")),
        None if status in (None, "", "running", "RUNNING") else str(status),
    )  # fmt: skip
