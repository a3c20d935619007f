"""Between the fields of the servers' forms and the keys of their schemas, both ways."""

from typing import Any

from werkzeug.datastructures import MultiDict

from app.domain import server_spec
from app.domain.safe_change import TIMEOUT_S, VerifyBy
from app.errors import FieldError, Invalid
from app.models import Run, Server, User
from app.routes.forms import number
from app.services.overview import Choices

Form = MultiDict[str, str]
ROW = ("name", "ip", "node", "vmid", "cores", "memory", "disk")  # what each server of a batch may have for itself
CREATE_FIELDS = (
    "template", "preset", "cores", "memory_gib", "disk_gib", "disk2_gib", "storage", "name", "count", "node", "network", "ip", "username", "tags",
    "ssh_keys", "description", *(f"row_{part}_{i}" for i in range(server_spec.MAX_BATCH) for part in ROW),
)  # fmt: skip


def first_values(choices: Choices, template: str | None, user: User) -> dict[str, Any]:
    """Return what the create page opens with: the asked for or first template, and a size that fits it."""
    names = [t.name for t in choices.templates]
    chosen = next((t for t in choices.templates if t.name == template), choices.templates[0] if names else None)
    fitting = [
        p for p in choices.presets if chosen and p.disk_gib >= chosen.disk_gib and p.memory_mib >= max(chosen.min_memory_mib, 2048)
    ]
    preset = fitting[0] if fitting else None
    size = preset or chosen
    return {
        "template": chosen.name if chosen else "",
        "preset": preset.name if preset else "",
        "cores": size.cores if size else 1,
        "memory_gib": f"{size.memory_mib / 1024:g}" if size else 1,
        "disk_gib": max(size.disk_gib, chosen.disk_gib) if size and chosen else 10,
        "count": 1,
        "username": chosen.username if chosen else "",
        "ssh_keys": user.ssh_keys,
        "start": True,
    }


def again_values(run: Run, choices: Choices, other: str = "") -> dict[str, Any]:
    """Return what the create page opens with to ask once more for what a run was asked for.

    `other` names what must not be the same again: node, storage, network or template.
    """
    rendered = run.inputs or {}
    asked = [rendered.get("servers", {}).get(slug) for slug in run.targets]
    first = asked[0] if asked else None
    names = run.names
    values: dict[str, Any] = {"name": names[0].rpartition("-")[0] if len(names) > 1 else "".join(names), "count": max(len(names), 1)}
    if not first:
        return values
    vmid = rendered.get("defaults", {}).get("template_vmid")
    template = next((t.name for t in choices.templates if t.vmid == vmid), None)
    return {
        **values,
        **({"template": template} if template else {}),
        "preset": "",
        "cores": first["cores"],
        "memory_gib": f"{first['memory_mib'] / 1024:g}",
        "disk_gib": first["disks"][0]["size_gib"],
        "disk2_gib": first["disks"][1]["size_gib"] if len(first["disks"]) > 1 else "",
        "username": first["username"],
        "ssh_keys": "\n".join(first["ssh_keys"]),
        "tags": " ".join(first["tags"]),
        "description": first["note"],
        "start": first["started"],
        **_place(run, asked, choices, other),
        **_own(names, asked, str(values["name"])),
    }


def _own(names: list[str], asked: list[dict[str, Any] | None], stem: str) -> dict[str, Any]:
    """Return what servers of a batch had for themselves: names out of the row, and sizes other than the first one's."""
    if len(names) < 2:
        return {}
    usual, first = server_spec.batch_names(stem, len(names)), asked[0]
    values: dict[str, Any] = {f"row_name_{i}": name for i, name in enumerate(names) if name != usual[i]}
    for i, row in enumerate(asked):
        if not row or not first:
            continue
        if row["cores"] != first["cores"]:
            values[f"row_cores_{i}"] = row["cores"]
        if row["memory_mib"] != first["memory_mib"]:
            values[f"row_memory_{i}"] = f"{row['memory_mib'] / 1024:g}"
        if row["disks"][0]["size_gib"] != first["disks"][0]["size_gib"]:
            values[f"row_disk_{i}"] = row["disks"][0]["size_gib"]
    return values


def like_values(server: Server, name: str, choices: Choices) -> dict[str, Any]:
    """Return what the create page opens with for one more server like this one."""
    networks = {n.name for n in choices.networks}
    return {
        "template": server.template_name if server.template_name in {t.name for t in choices.templates} else "", "preset": "", "name": name, "count": 1,
        "cores": server.cores, "memory_gib": f"{server.memory_mib / 1024:g}", "disk_gib": server.disks[0]["size_gib"] if server.disks else "",
        "disk2_gib": server.disks[1]["size_gib"] if len(server.disks) > 1 else "", "network": next((n["network"] for n in server.nics if n["network"] in networks), ""),
        "username": server.username, "ssh_keys": "\n".join(server.ssh_keys), "tags": " ".join(server.tags), "description": server.description,
    }  # fmt: skip


def _place(run: Run, asked: list[dict[str, Any] | None], choices: Choices, other: str) -> dict[str, Any]:
    """Return the network as it was, and another one of what failed; the rest of the place is chosen anew."""
    cluster = run.workspace.cluster_id
    failed = (run.error or {}).get("args", {}).get("servers") or run.targets
    rows = [row for slug, row in zip(run.targets, asked, strict=True) if row and slug in failed]
    bridges = {(nic["bridge"], nic["vlan"]) for row in rows for nic in row["nics"]}
    same = [n.name for n in choices.networks if n.cluster_id == cluster and (n.bridge, n.vlan) in bridges]
    if other == "network":
        return {"network": next((n.name for n in choices.networks if n.cluster_id == cluster and n.name not in same), "")}
    kept = {"network": same[0]} if same else {}
    if other == "node":
        nodes = {row["node"] for row in rows}
        free = [n for n in choices.nodes if n.cluster_id == cluster and n.online and n.name not in nodes]
        return {**kept, "node": max(free, key=lambda n: n.free_gib).name if free else ""}
    if other == "storage":
        storages = {d["datastore"] for row in rows for d in row["disks"]}
        room = [s for s in choices.storages if s.cluster_id == cluster and s.name not in storages]
        return {**kept, "storage": max(room, key=lambda s: s.free_gib).name if room else ""}
    return {**kept, "template": ""} if other == "template" else kept


def shown(form: Form) -> dict[str, Any]:
    """Return the form as it was sent, to be shown again."""
    return {**form.to_dict(), "start": "start" in form, "confirm_plan": "confirm_plan" in form}


def create_data(form: Form, own_keys: str) -> dict[str, Any]:
    """Return the body that the create form stands for."""
    nic: dict[str, Any] = {"network": form.get("network", "")}
    if form.get("ip_mode") == "fixed":
        nic["ip"] = form.get("ip", "")
    data: dict[str, Any] = {
        "name": form.get("name", ""),
        "template": form.get("template", ""),
        "count": _or_empty(number(form.get("count"))),
        # The numbers are what counts: a preset only fills them in.
        "cores": number(form.get("cores")),
        "memory_mib": number(form.get("memory_gib"), 1024),
        "disks": _disks(form),
        "networks": [nic] if nic["network"] else None,
        "node": form.get("node") or None,
        "username": form.get("username") or None,
        "ssh_keys": form.get("ssh_keys", "").strip() or own_keys,
        "tags": form.get("tags", ""),
        "description": form.get("description", ""),
        "start": "start" in form,
        "apply": "confirm" if "confirm_plan" in form else "auto",
    }
    if rows := _rows(form):
        data |= {"servers": rows, "count": 1}
    return {key: value for key, value in data.items() if value is not None}


def _rows(form: Form) -> list[dict[str, Any]]:
    """Return the servers of a batch one by one, when the table says anything of its own; its empty names are the numbered ones."""
    count, name = number(form.get("count")), form.get("name", "").strip()
    if not isinstance(count, int) or not 1 < count <= server_spec.MAX_BATCH or not any(form.get(f"row_{part}_{i}", "").strip() for i in range(count) for part in ROW):
        return []
    usual = server_spec.batch_names(name, count) if name else [""] * count
    out: list[dict[str, Any]] = []
    for i in range(count):
        row = {
            "name": form.get(f"row_name_{i}", "").strip() or usual[i], "ip": form.get(f"row_ip_{i}", "").strip() or None,
            "node": form.get(f"row_node_{i}") or None, "vmid": number(form.get(f"row_vmid_{i}")),
            "cores": number(form.get(f"row_cores_{i}")), "memory_mib": number(form.get(f"row_memory_{i}"), 1024), "disk_gib": number(form.get(f"row_disk_{i}")),
        }  # fmt: skip
        out.append({key: value for key, value in row.items() if value is not None})
    return out


def _disks(form: Form) -> list[dict[str, Any]] | None:
    """Return the disks asked for; None when it is left to the template."""
    sizes = [number(form.get("disk_gib")), number(form.get("disk2_gib"))]
    if sizes[1] is None:
        sizes.pop()
    storage = {"storage": form["storage"]} if form.get("storage") else {}
    return None if sizes == [None] and not storage else [{"size_gib": _or_empty(size), **storage} for size in sizes]


def _or_empty(value: int | str | None) -> int | str:
    return "" if value is None else value


def create_field(path: str) -> str:
    """Return the form's field for a path of the schema."""
    head, _, rest = path.partition(".")
    if head == "servers":
        index, _, part = rest.partition(".")
        return f"row_{part.removesuffix('_mib').removesuffix('_gib')}_{index}" if part else "count"
    if head == "disks":
        return "storage" if rest.endswith("storage") else "disk2_gib" if rest.startswith("1") else "disk_gib"
    if head == "networks":
        return "ip" if rest.endswith("ip") else "network"
    return {"memory_mib": "memory_gib"}.get(head, head)


def server_values(server: Server) -> dict[str, Any]:
    """Return what the forms of a server's page open with."""
    return {
        "cores": server.cores,
        "memory_gib": f"{server.memory_mib / 1024:g}",
        **{f"disk_{index}": disk.get("size_gib") for index, disk in enumerate(server.disks)},
        "verify": "agent" if server.agent else "port", "port": 22, "timeout_s": TIMEOUT_S,
        "tags": " ".join(server.tags),
        "description": server.description,
    }


def resize_data(form: Form, server: Server) -> dict[str, Any]:
    """Return the change that the resize form stands for; what is as it was is left out."""
    data: dict[str, Any] = {"apply": "confirm" if "confirm_plan" in form else "auto"}
    cores, memory = number(form.get("cores")), number(form.get("memory_gib"), 1024)
    if cores != server.cores:
        data["cores"] = _or_empty(cores)
    if memory != server.memory_mib:
        data["memory_mib"] = _or_empty(memory)
    disks = [_or_empty(number(form.get(f"disk_{index}"))) for index in range(len(server.disks))]
    if disks != [disk.get("size_gib") for disk in server.disks]:
        data["disks"] = [
            {"size_gib": size, **({"storage": disk["storage"]} if disk.get("storage") else {})}
            for size, disk in zip(disks, server.disks, strict=True)
        ]
    return data


def safe_change_data(form: Form, change: dict[str, Any]) -> dict[str, Any]:
    """Return the safe change that the resize form stands for."""
    by_port = form.get("verify") == VerifyBy.PORT
    return {
        "change": change, "verify": form.get("verify", ""), "timeout_s": _or_empty(number(form.get("timeout_s"))), "keep_snapshot": "keep_snapshot" in form,
        **({"port": _or_empty(number(form.get("port")))} if by_port else {}),
    }  # fmt: skip


def describe_data(form: Form) -> dict[str, Any]:
    """Return the change that the form of tags and description stands for."""
    return {"tags": form.get("tags", ""), "description": form.get("description", "")}


def device_data(form: Form, server: Server) -> dict[str, Any]:
    """Return the change that one button of the disks and networks stands for; removal is typed with the device's name."""
    data: dict[str, Any] = {"apply": "confirm" if "confirm_plan" in form else "auto"}
    match form.get("do"):
        case "add_disk":
            there = [{"size_gib": d["size_gib"], "storage": d["storage"]} for d in server.disks]
            more = {"size_gib": _or_empty(number(form.get("new_disk_gib"))), "storage": form.get("new_storage") or None}
            return data | {"disks": [*there, more]}
        case "add_network":
            return data | {"add_networks": [{"network": form.get("new_network", ""), "ip": form.get("new_ip", "").strip() or None}]}
        case "remove_disk":
            return data | {"remove_disks": [form.get("device", "")]}
        case "remove_network":
            return data | {"remove_networks": [form.get("device", "")]}
        case _:
            raise Invalid([FieldError("do", "not_one_of")])


def device_field(path: str) -> str:
    """Return the form's field for a path of a change of disks and networks."""
    if path.startswith("add_networks"):
        return "new_ip" if path.endswith("ip") else "new_network"
    return "new_storage" if path.endswith(".storage") else "new_disk_gib" if path.endswith(".size_gib") else path


def change_field(path: str) -> str:
    """Return the form's field for a path of the change schema."""
    head, _, rest = path.removeprefix("change.").partition(".")
    if head == "disks":
        return f"disk_{rest.partition('.')[0] or 0}"
    return {"memory_mib": "memory_gib"}.get(head, head)
