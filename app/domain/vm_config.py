"""Reading a VM's config as Proxmox writes it: disks, addresses, agent, marker. Pure."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_interface

_SIZE = re.compile(r"(?:^|,)size=(\d+(?:\.\d+)?)([KMGT]?)(?:,|$)")
_UNIT_GIB = {"": 1 / 1024**3, "K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
_DISK = re.compile(r"^(?:scsi|virtio|sata|ide)\d+$")
_IP = re.compile(r"(?:^|,)ip6?=([0-9a-fA-F.:]+/\d+)")

FAMILIES = ("ubuntu", "debian", "rocky", "alma", "fedora", "centos", "opensuse", "arch", "alpine", "freebsd", "windows")
_USERNAMES = {"alma": "almalinux", "windows": "Administrator", "linux": "ubuntu"}


_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class BootDisk:
    interface: str
    storage: str
    size_gib: int


def static_addresses(config: Mapping[str, str]) -> list[str]:
    """Return the fixed addresses of a VM's ipconfigN, or of a container's netN."""
    found = []
    for key in sorted(config):
        if re.fullmatch(r"(ipconfig|net)\d+", key):
            for text in _IP.findall(config[key]):
                try:
                    found.append(str(ip_interface(text).ip))
                except ValueError:
                    continue
    return list(dict.fromkeys(found))


def marker(config: Mapping[str, str]) -> str:
    """Return the first line of the description, where an installation leaves its mark."""
    lines = config.get("description", "").splitlines()
    return lines[0].strip()[:128] if lines else ""


def carries(config: Mapping[str, str], wanted: str) -> bool:
    """True when the first line of the description is this very mark: `…/web-10` is not `…/web-1`."""
    return config.get("description", "").split("\n", 1)[0].strip() == wanted


def agent_on(config: Mapping[str, str]) -> bool:
    """True when the guest agent is switched on: "1", "1,fstrim_cloned_disks=1" or "enabled=1"."""
    return config.get("agent", "0").split(",")[0].removeprefix("enabled=") == "1"


@dataclass(frozen=True)
class Image:
    """Which image a template is: `name` changes when its VM is made anew; `made_at_s` as Proxmox noted it, if it did."""

    name: str
    made_at_s: int | None


def image(config: Mapping[str, str]) -> Image:
    """Return what tells a template's image from the one before it under the same VMID."""
    made = re.search(r"(?:^|,)ctime=(\d+)", config.get("meta", ""))
    uuid = re.search(r"(?:^|,)uuid=([0-9A-Fa-f-]+)", config.get("smbios1", ""))
    disk = boot_disk(config)
    parts = (made[1] if made else "", uuid[1].lower() if uuid else "", config[disk.interface].split(",")[0] if disk else "")
    return Image(hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest(), int(made[1]) if made else None)


def size_gib(drive: str) -> int:
    """Return a drive's size, rounded up; 0 when it has none."""
    found = _SIZE.search(drive)
    return math.ceil(float(found[1]) * _UNIT_GIB[found[2]]) if found else 0


def boot_disk(config: Mapping[str, str]) -> BootDisk | None:
    """Return the first real disk of the boot order, else the first disk there is."""
    order = config.get("boot", "").partition("order=")[2].split(",")[0].split(";")
    disks = [k for k in config if _DISK.match(k) and "media=cdrom" not in config[k] and config[k].partition(":")[1]]
    chosen = next((k for k in [*order, config.get("bootdisk", ""), *sorted(disks)] if k in disks), None)
    if chosen is None:
        return None
    return BootDisk(chosen, config[chosen].partition(":")[0], size_gib(config[chosen]))


@dataclass(frozen=True)
class Shape:
    """What a VM's config says of what a person may change here; `disks` by interface, in Proxmox's order."""

    cores: int
    memory_mib: int
    tags: frozenset[str]
    disks: tuple[BootDisk, ...]


def shape(config: Mapping[str, str]) -> Shape:
    """Return cores, memory, tags and disks of a config; Proxmox's defaults where it is silent."""
    memory = re.search(r"(?:^|current=)(\d+)", config.get("memory", ""))
    disks = [k for k, v in config.items() if _DISK.match(k) and "media=cdrom" not in v and ":" in v]
    return Shape(
        int(config.get("cores", "1")),
        int(memory[1]) if memory else 512,
        frozenset(t for t in re.split(r"[;, ]+", config.get("tags", "")) if t),
        tuple(BootDisk(k, config[k].partition(":")[0], size_gib(config[k])) for k in sorted(disks, key=_natural)),
    )


def _natural(interface: str) -> tuple[str, int]:
    number = _NUMBER.search(interface)
    return (_NUMBER.sub("", interface), int(number[1]) if number else 0)


def family(name: str) -> str:
    """Return the operating system's family, as far as the name tells."""
    return next((f for f in FAMILIES if f in name.lower()), "linux")


def login(config: Mapping[str, str], name: str) -> str:
    """Return the login name a template's images use."""
    kind = family(name)
    return config.get("ciuser") or _USERNAMES.get(kind, kind)


def min_memory_mib(name: str) -> int:
    """Return what a system of this family needs to boot."""
    return 2048 if family(name) == "windows" else 512
