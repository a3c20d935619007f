"""Terraform's command lines, built by python-terraform; of that library nothing else is used."""

from collections.abc import Sequence
from functools import cache

from python_terraform import IsFlagged, Terraform

from app.adapters.terraform.binary import find_terraform

ADDRESS = 'proxmox_virtual_environment_vm.server["{}"]'


@cache
def _builder() -> Terraform:
    return Terraform(terraform_bin_path="terraform")


def _argv(*words: str, **options: object) -> list[str]:
    """Return the full command: our binary, then what python-terraform makes of the options."""
    command: list[str] = _builder().generate_cmd_string(*words, **options)
    return [*find_terraform().argv, *command[1:]]


def plan(out: str, targets: Sequence[str] = ()) -> list[str]:
    """`plan -json -detailed-exitcode -out=…`: 0 nothing to do, 2 changes, 1 error."""
    return _argv(
        "plan", json=IsFlagged, detailed_exitcode=IsFlagged, input=False, lock=False, out=out,
        target=[ADDRESS.format(slug) for slug in targets],
    )  # fmt: skip


def apply(plan_file: str, parallelism: int) -> list[str]:
    """`apply -json` of a saved plan."""
    return _argv("apply", plan_file, json=IsFlagged, input=False, lock=False, parallelism=parallelism)


def show(plan_file: str) -> list[str]:
    """`show -json` of a saved plan."""
    return _argv("show", plan_file, json=IsFlagged)


def untaint(slug: str) -> list[str]:
    """`untaint` of one server."""
    return _argv("untaint", ADDRESS.format(slug), lock=False)


def state_rm(slug: str) -> list[str]:
    """`state rm` of one server: Terraform forgets it, nothing is removed."""
    return _argv("state rm", ADDRESS.format(slug), lock=False)


def import_(slug: str, identity: str) -> list[str]:
    """`import` of one VM ("node/vmid") under a server's key."""
    return _argv("import", ADDRESS.format(slug), identity, input=False, lock=False)
