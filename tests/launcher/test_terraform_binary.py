"""Which Terraform is chosen, and the skeleton made with the real one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from app.adapters.terraform import binary as binary_module
from app.adapters.terraform import provider
from app.adapters.terraform.binary import TerraformBinary, find_terraform, tool_environment
from app.adapters.terraform.provider import find_provider, provider_file
from app.adapters.terraform.skeleton import ensure_skeleton
from app.config import Settings, load_settings
from app.errors import ProviderMissing, TerraformMissing

HOST = "registry.example"


def settings(directory: Path, **environ: str) -> Settings:
    return load_settings({"DATA_DIR": str(directory / "data"), "ENV_FILE": "/dev/null", **environ}, directory)


def fake(directory: Path, name: str, says: str, host: str = HOST) -> Path:
    """A program that answers `version` and `providers` as Terraform does, and counts its calls."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(
        "#!/bin/sh\n"
        f'echo x >> "{directory}/{name}.calls"\n'
        f'if [ "$1" = version ]; then echo "{says}"; else echo "└── provider[{host}/bpg/proxmox]"; fi\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_terraform_is_preferred_to_tofu(tmp_path: Path, only: Path) -> None:
    path = fake(only, "terraform", "Terraform v1.11.4")
    fake(only, "tofu", "OpenTofu v1.11.5")
    assert find_terraform(settings(tmp_path)) == TerraformBinary((str(path),), "terraform", "1.11.4", HOST)


def test_an_old_terraform_is_passed_over(tmp_path: Path, only: Path) -> None:
    fake(only, "terraform", "Terraform v1.8.5")
    fake(only, "tofu", "OpenTofu v1.11.5-dev", "registry.tofu.example")
    found = find_terraform(settings(tmp_path))
    assert (found.flavour, found.version, found.provider_host) == ("opentofu", "1.11.5-dev", "registry.tofu.example")


def test_terraform_bin_wins_and_is_never_replaced_by_another(tmp_path: Path, only: Path) -> None:
    fake(only, "terraform", "Terraform v1.11.4")
    mine = fake(tmp_path / "mine", "my-terraform", "Terraform v1.12.0")
    assert find_terraform(settings(tmp_path, TERRAFORM_BIN=str(mine))).version == "1.12.0"
    old = fake(tmp_path / "mine", "old", "Terraform v0.15.0")
    with pytest.raises(TerraformMissing) as caught:
        find_terraform(settings(tmp_path, TERRAFORM_BIN=str(old)))
    assert "1.9 or newer is needed" in caught.value.detail


def test_a_program_that_is_something_else_is_said_so(tmp_path: Path, only: Path) -> None:
    other = fake(only, "other", "Hello v1.0.0")
    with pytest.raises(TerraformMissing) as caught:
        find_terraform(settings(tmp_path, TERRAFORM_BIN=str(other)))
    assert "does not say that it is Terraform" in caught.value.detail


def test_a_missing_program_is_named(tmp_path: Path, only: Path) -> None:
    with pytest.raises(TerraformMissing) as caught:
        find_terraform(settings(tmp_path, TERRAFORM_BIN="/nowhere/terraform"))
    assert "/nowhere/terraform" in caught.value.detail


def test_a_program_is_asked_once_over_all_processes(tmp_path: Path, only: Path) -> None:
    fake(only, "terraform", "Terraform v1.11.4")
    config = settings(tmp_path)
    find_terraform(config)
    calls = (only / "terraform.calls").read_text()
    # What another process knows: the file alone.
    binary_module._known.clear()
    find_terraform(config)
    assert (only / "terraform.calls").read_text() == calls


def test_a_replaced_program_is_asked_again(tmp_path: Path, only: Path) -> None:
    fake(only, "terraform", "Terraform v1.11.4")
    config = settings(tmp_path)
    assert find_terraform(config).version == "1.11.4"
    fake(only, "terraform", "Terraform v1.11.10")
    assert find_terraform(config).version == "1.11.10"


def test_a_mirror_may_hold_the_provider_packed_or_unpacked(tmp_path: Path) -> None:
    assert provider_file(tmp_path, HOST) is None
    base = tmp_path / HOST / "bpg" / "proxmox"
    base.mkdir(parents=True)
    packed = base / f"terraform-provider-proxmox_0.111.1_{_platform()}.zip"
    packed.write_bytes(b"")
    assert provider_file(tmp_path, HOST) == packed


def test_the_configured_mirror_is_looked_at_first(tmp_path: Path) -> None:
    program = tmp_path / "mirror" / HOST / "bpg" / "proxmox" / "0.111.1" / _platform() / "terraform-provider-proxmox_v0.111.1"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"")
    program.chmod(0o755)
    binary = TerraformBinary(("/x",), "terraform", "1.11.4", HOST)
    assert find_provider(binary, settings(tmp_path, TPM_PROVIDER_MIRROR=str(tmp_path / "mirror"))) == tmp_path / "mirror"
    with pytest.raises(ProviderMissing):
        find_provider(binary, settings(tmp_path))


@pytest.mark.parametrize("place", ["named", "implied"])
def test_a_mirror_of_the_persons_own_terraform_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    mirror = tmp_path / "named" if place == "named" else tmp_path / ".terraform.d" / "plugins"
    program = mirror / HOST / "bpg" / "proxmox" / "0.111.1" / _platform() / "terraform-provider-proxmox_v0.111.1"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"the provider")
    program.chmod(0o755)
    if place == "named":
        (tmp_path / ".terraformrc").write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TF_CLI_CONFIG_FILE", raising=False)
    monkeypatch.setattr(provider, "OWN_MIRROR", tmp_path / "own")
    binary = TerraformBinary(("/x",), "terraform", "1.11.4", HOST)
    found = provider.obtain_provider(binary, settings(tmp_path), lambda _text: None)
    assert found == tmp_path / "own"
    taken = provider_file(found, HOST)
    assert taken is not None
    assert taken.read_bytes() == b"the provider"


def test_the_skeleton_needs_no_init_and_no_network(tmp_path: Path) -> None:
    config = settings(tmp_path)
    skeleton = ensure_skeleton(settings=config)
    assert ensure_skeleton(settings=config) == skeleton
    assert "direct" not in skeleton.cli_config.read_text()
    work = tmp_path / "work"
    shutil.copytree(skeleton.directory, work, symlinks=True)
    done = subprocess.run(
        [*skeleton.binary.argv, "validate", "-json"],
        cwd=work,
        env=tool_environment(tmp_path, skeleton.cli_config),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"valid": true' in done.stdout


def test_a_skeleton_whose_init_fails_leaves_nothing_half_made(tmp_path: Path, only: Path) -> None:
    program = tmp_path / "mirror" / HOST / "bpg" / "proxmox" / "0.111.1" / _platform() / "terraform-provider-proxmox_v0.111.1"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"")
    program.chmod(0o755)
    terraform = fake(only, "terraform", "Terraform v1.11.4")
    terraform.write_text(terraform.read_text() + 'test "$1" != init\n')
    config = settings(tmp_path, TPM_PROVIDER_MIRROR=str(tmp_path / "mirror"))
    with pytest.raises(ProviderMissing, match="init ended with exit code 1"):
        ensure_skeleton(settings=config)
    assert [p.name for p in (tmp_path / "data" / "terraform").iterdir()] == ["lock"]


def _platform() -> str:
    return provider._platform()
