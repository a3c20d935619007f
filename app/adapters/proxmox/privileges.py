"""What our account must be allowed on a cluster, and what of it is missing."""

from collections.abc import Mapping

# Any one of an entry's names will do: Proxmox 9 split VM.Monitor, older releases have only that.
REQUIRED: dict[str, tuple[str, ...]] = {
    "/vms": (
        "VM.Allocate", "VM.Audit", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit",
        "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
        "VM.GuestAgent.Audit|VM.Monitor", "VM.Migrate", "VM.PowerMgmt", "VM.Snapshot",
    ),
    "/storage": ("Datastore.AllocateSpace", "Datastore.Audit"),
    "/sdn": ("SDN.Use",),
    "/nodes": ("Sys.Audit",),
}  # fmt: skip


def missing_privileges(held: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str]]:
    """Return (privilege, path) for each one missing. `held` is /access/permissions' answer.

    A privilege on any path below counts: it may be granted on some storages or one pool of VMs only.
    """
    return [
        (names.replace("|", " or "), path)
        for path, wanted in REQUIRED.items()
        for names in wanted
        if not any(_holds(held, path, name) for name in names.split("|"))
    ]


def _holds(held: Mapping[str, Mapping[str, object]], path: str, privilege: str) -> bool:
    pools = path in ("/vms", "/storage")  # a pool's members carry its grants
    return any(
        privilege in privileges
        and (where in ("/", path) or where.startswith(path + "/") or (pools and where.startswith("/pool")))
        for where, privileges in held.items()
    )
