"""What a request for servers may hold: the one schema of page, live check, POST and JSON."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from app.domain import server_spec
from app.domain.run_state import ApplyMode

DESCRIPTION_BYTES = 4096
MEMORY_MIB = (128, 4_194_304)
CORES = (1, 512)
DISK_GIB = (1, 65_536)


def _fault(code: str | None, **args: Any) -> None:
    if code:
        raise PydanticCustomError(code, code, args)


def _free_text(value: str) -> str:
    value = value.replace("\r\n", "\n").strip()
    _fault(server_spec.text_fault(value, DESCRIPTION_BYTES), limit=DESCRIPTION_BYTES)
    return value


def _tag(value: str) -> str:
    value = value.strip()
    _fault(server_spec.tag_fault(value), tag=value[:40])
    return value


def _key(value: str) -> str:
    value = value.strip()
    _fault(server_spec.ssh_key_fault(value), start=value[:24])
    return value


def _username(value: str) -> str:
    _fault(server_spec.username_fault(value))
    return value


def _no_bool(value: Any) -> Any:
    # JSON's true would otherwise count as 1.
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "int_type")
    return value


def _lines(value: Any) -> Any:
    """Accept a text of several lines (a form's text area) where a list is meant."""
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


def _words(value: Any) -> Any:
    return [w for w in value.replace(",", " ").split() if w] if isinstance(value, str) else value


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _ip(value: str) -> str:
    import ipaddress  # noqa: PLC0415 - only here

    try:
        return str(ipaddress.IPv4Address(value.strip()))
    except ValueError:
        raise PydanticCustomError("ip_malformed", "ip_malformed", {"ip": value[:60]}) from None


Number = BeforeValidator(_no_bool)
Cores = Annotated[int, Number, Field(ge=CORES[0], le=CORES[1])]
MemoryMib = Annotated[int, Number, Field(ge=MEMORY_MIB[0], le=MEMORY_MIB[1])]
# As Proxmox has them; the cluster's own range is narrower.
Vmid = Annotated[int, Number, Field(ge=100, le=999_999_999)]
SizeGib = Annotated[int, Number, Field(ge=DISK_GIB[0], le=DISK_GIB[1])]
Name64 = Annotated[str, Field(min_length=1, max_length=128)]
Device = Annotated[str, Field(min_length=1, max_length=16)]
Tags = Annotated[list[Annotated[str, AfterValidator(_tag)]], BeforeValidator(_words), Field(max_length=20), AfterValidator(_unique)]
SshKeys = Annotated[list[Annotated[str, AfterValidator(_key)]], BeforeValidator(_lines), Field(max_length=20), AfterValidator(_unique)]
Description = Annotated[str, AfterValidator(_free_text)]


class Strict(BaseModel):
    """Refuses fields it does not know, so that a typing error is told and not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class DiskWanted(Strict):
    size_gib: SizeGib
    storage: Name64 | None = None


class NicWanted(Strict):
    network: Name64
    ip: Annotated[str, AfterValidator(_ip)] | None = None


class ServerRow(Strict):
    """One server of a batch whose servers differ: what is left out is as for all, a VMID the lowest free one."""

    name: str
    node: Name64 | None = None
    vmid: Vmid | None = None
    ip: Annotated[str, AfterValidator(_ip)] | None = None
    cores: Cores | None = None
    memory_mib: MemoryMib | None = None
    disk_gib: SizeGib | None = None


class ServerCreate(Strict):
    """`POST /api/servers/async`; {name, template} is enough.

    `servers` names each of them, instead of `name` and `count`: their `ip` is of the first network, their `disk_gib` the
    first disk.
    """

    name: str
    template: Name64
    count: Annotated[int, Number, Field(ge=1, le=server_spec.MAX_BATCH)] = 1
    preset: Name64 | None = None
    cores: Cores | None = None
    memory_mib: MemoryMib | None = None
    disks: Annotated[list[DiskWanted], Field(min_length=1, max_length=8)] | None = None
    networks: Annotated[list[NicWanted], Field(min_length=1, max_length=4)] | None = None
    node: Name64 | None = None
    username: Annotated[str, AfterValidator(_username)] | None = None
    ssh_keys: SshKeys | None = None
    tags: Tags = []
    description: Description = ""
    start: bool = True
    apply: ApplyMode = ApplyMode.AUTO
    servers: Annotated[list[ServerRow], Field(min_length=1, max_length=server_spec.MAX_BATCH)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _strip_name(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if data.get("servers") and data.get("name") is None:
            # Each row has its own; the workspace is called after the first.
            return {**data, "name": ""}
        return {**data, "name": data["name"].strip()} if isinstance(data.get("name"), str) else data


class ServerChange(Strict):
    """`PATCH /api/servers/<name>`; `disks` is the whole ordered list: entries grow or are appended.

    What is removed is named as Proxmox names it: `scsi1`, `net1`.
    """

    cores: Cores | None = None
    memory_mib: MemoryMib | None = None
    disks: Annotated[list[DiskWanted], Field(min_length=1, max_length=8)] | None = None
    remove_disks: Annotated[list[Device], Field(max_length=8), AfterValidator(_unique)] = []
    add_networks: Annotated[list[NicWanted], Field(max_length=4)] = []
    remove_networks: Annotated[list[Device], Field(max_length=4), AfterValidator(_unique)] = []
    tags: Tags | None = None
    description: Description | None = None
    apply: ApplyMode = ApplyMode.AUTO


class ServerDelete(Strict):
    """`DELETE /api/servers/<name>`; `confirm` repeats the name. `forget`: its VM is gone, only state and list still have it."""

    confirm: str = ""
    forget: bool = False
    apply: ApplyMode = ApplyMode.AUTO


# The same schema with nothing required: what is right of a faulty body, so that the database's faults are told too.
ServerDraft: type[BaseModel] = create_model(
    "ServerDraft",
    __base__=ServerCreate,
    **{name: (field.annotation | None if field.annotation else Any, None) for name, field in ServerCreate.model_fields.items() if field.is_required()},  # type: ignore[call-overload]  # computed fields
)
