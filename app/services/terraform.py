"""Whether plans can be made here at all: a Terraform, and the provider for it."""

from app.adapters.terraform.binary import find_terraform
from app.adapters.terraform.provider import find_provider
from app.errors import AppError, ProviderMissing, TerraformMissing


def fault() -> AppError | None:
    """Return what is missing on this machine, None when a plan can be made. Known answers cost two file look-ups."""
    try:
        find_provider(find_terraform())
    except (TerraformMissing, ProviderMissing) as exc:
        return exc
    return None
