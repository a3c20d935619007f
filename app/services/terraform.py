"""Whether plans can be made here at all: a Terraform, and the provider for it."""

from app.adapters.terraform.binary import find_terraform
from app.adapters.terraform.provider import VERSION, find_provider
from app.errors import AppError, ProviderMissing, TerraformMissing


def fault() -> AppError | None:
    """Return what is missing on this machine, None when a plan can be made. Known answers cost two file look-ups."""
    try:
        find_provider(find_terraform())
    except (TerraformMissing, ProviderMissing) as exc:
        return exc
    return None


def versions() -> dict[str, str]:
    """Return the versions that new workspaces get, by name; empty where something is not set up."""
    try:
        binary = find_terraform()
    except TerraformMissing:
        return {"Terraform": "", "bpg/proxmox": VERSION}
    return {"OpenTofu" if binary.flavour == "opentofu" else "Terraform": binary.version, "bpg/proxmox": VERSION}
