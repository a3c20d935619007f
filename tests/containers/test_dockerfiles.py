"""The Dockerfiles: linted, pinned, without the simulator, and building the provider that the application looks for."""

import argparse
import re

import pytest

import bootstrap
from app.adapters.terraform.provider import VERSION
from tests.containers.tools import ROOT, said, tool

FILES = pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.celery"])


def text(name: str) -> str:
    return (ROOT / "docker" / name).read_text()


@FILES
def test_hadolint_has_nothing_to_say(name: str) -> None:
    done = said([tool("hadolint"), "--no-fail", "--format", "tty", str(ROOT / "docker" / name)])
    assert done.returncode == 0 and done.stdout.strip() == "", done.stdout + done.stderr


@FILES
def test_base_images_are_pinned_to_a_patch_release(name: str) -> None:
    images = re.findall(r"^ARG (?:PYTHON|GO)_IMAGE=(.+)$", text(name), re.MULTILINE)
    assert len(images) == 2 and all(re.search(r":\d+\.\d+\.\d+-", image) for image in images)
    froms = re.findall(r"^FROM (\S+)", text(name), re.MULTILINE)
    assert set(froms) == {"${PYTHON_IMAGE}", "${GO_IMAGE}"} and len(froms) >= 3, "stages of pinned images only"


@FILES
def test_the_go_stage_has_a_go_that_the_provider_can_be_built_with(name: str) -> None:
    needed = re.search(r"^go (\S+)$", (ROOT / "provider/go.mod").read_text(), re.MULTILINE)
    have = re.search(r"GO_IMAGE=golang:([\d.]+)-", text(name))
    assert needed and have
    assert tuple(map(int, have[1].split("."))) >= tuple(map(int, needed[1].split(".")))


@FILES
def test_the_provider_is_of_the_version_that_the_application_looks_for(name: str) -> None:
    assert re.findall(r"PROVIDER_VERSION=(\S+)", text(name)) == [VERSION]
    assert f"github.com/bpg/terraform-provider-proxmox v{VERSION}" in (ROOT / "provider/go.mod").read_text()


@FILES
def test_it_runs_as_nobody_of_the_host_and_says_how_it_is(name: str) -> None:
    last = text(name).rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .+launcher\.healthcheck", last, re.MULTILINE)
    assert re.search(r'^CMD \["python", "run.py", ', last, re.MULTILINE)
    assert "APP_ENV=production" in last and "RUNNERS_END_WITH_WORKER=on" in last


@FILES
def test_nothing_of_the_simulator_reaches_the_image(name: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and not [line for line in ignored if line.startswith("!") and "simulator" in line]
    assert "bootstrap.py --production" in text(name)


def test_a_production_set_up_takes_neither_the_simulator_nor_what_tests_need() -> None:
    arguments = argparse.Namespace(production=True, no_assets=False, dev=False, quiet=True)
    assert bootstrap.Bootstrap(arguments).lists == ["requirements.txt"]
    assert "fakepve" not in (ROOT / "requirements.txt").read_text()


def test_all_that_an_image_is_built_from_is_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignored if line.startswith("!")]
    assert all((ROOT / path).exists() for path in let_through)
    read = set(re.findall(r'"(requirements[\w.-]*\.txt)"', (ROOT / "bootstrap.py").read_text())) - {"requirements-dev.txt", "requirements-simulator.txt"}
    assert read <= set(let_through)
