"""What is under which licence: the application under Apache-2.0, the simulator under the AGPL and away from everything that is shipped."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("app", "launcher", "embedded")
AGPL = "SPDX-License-Identifier: AGPL-3.0-or-later"


def imports(path: Path) -> Iterator[str]:
    """The first names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


def packages(path: Path) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", path.read_text("utf-8"), re.MULTILINE))


def test_the_application_has_the_whole_text_of_its_licence() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert all(f"\n   {n}. " in text for n in range(1, 10)) and "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_simulator_has_the_whole_text_of_its_licence() -> None:
    text = (ROOT / "simulator" / "LICENSE").read_text("utf-8")
    assert re.search(r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3, 19 November 2007", text)
    assert all(f"\n  {n}. " in text for n in range(18)) and "END OF TERMS AND CONDITIONS" in text


def test_every_file_of_the_simulator_names_its_licence() -> None:
    files = sorted((ROOT / "simulator").rglob("*.py"))
    assert len(files) > 10
    assert [path.name for path in files if path.read_text("utf-8").splitlines()[0] != f"# {AGPL}"] == []
    others = {path.name for path in (ROOT / "simulator").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == {"LICENSE"}


def test_nothing_else_is_under_the_simulators_licence() -> None:
    ours = [path for folder in (*SHIPPED, "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert len(ours) > 100
    assert [path for path in ours if AGPL in path.read_text("utf-8")] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_both_licences_are_told_to_the_reader(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert "Apache-2.0" in text and re.search(r"`simulator/`[^.]*AGPL-3\.0-or-later", text)


@pytest.mark.parametrize("folder", SHIPPED)
def test_what_is_shipped_imports_neither_the_simulator_nor_fakepve(folder: str) -> None:
    files = [*(ROOT / folder).rglob("*.py"), ROOT / "run.py", ROOT / "bootstrap.py"]
    assert [path for path in files if {"simulator", "fakepve"} & set(imports(path))] == []


def test_fakepve_is_in_the_simulators_list_of_packages_alone() -> None:
    naming = {path.name for path in ROOT.glob("requirements*") if re.search(r"(?m)^fakepve\b", path.read_text("utf-8"))}
    assert naming == {"requirements-simulator.in", "requirements-simulator.txt"}
    assert "fakepve" in packages(ROOT / "requirements-simulator.txt")


def test_an_image_gets_neither_the_simulators_packages_nor_its_files() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert "app" in let_through and not {name for name in let_through if "simulator" in name}
    for path in (ROOT / "docker").glob("Dockerfile*"):
        commands = "\n".join(line for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
        assert "simulator" not in commands.lower().replace("simulator=off", ""), path.name
        assert "bootstrap.py --production" in commands, path.name


def test_an_image_has_the_licence_in_it() -> None:
    assert "!LICENSE" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for path in (ROOT / "docker").glob("Dockerfile*"):
        last = path.read_text("utf-8").rpartition("\nFROM ")[2]
        assert re.search(r"^COPY --from=build .*/app/LICENSE\b", last, re.MULTILINE), path.name
