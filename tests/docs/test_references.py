"""What the documents refer to is there: files, links, modules, commands; and the words are ours."""

import re

import pytest

from tests.docs.examples import ROOT

DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
# Where a path in a text may begin.
BESIDE = ("", "app", "docs", "tests")
CODE = re.compile(r"```.*?^```", re.DOTALL | re.MULTILINE)
EXAMPLES = "docs/developing.md"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_that_there_are(document: str) -> None:
    place = ROOT / document
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", place.read_text("utf-8"))
    assert [target for target in targets if not target.startswith(("http:", "https:")) and not (place.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_source_files_that_are_named_exist(document: str) -> None:
    text = CODE.sub("", (ROOT / document).read_text("utf-8"))
    named = {path for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|yml|conf|html|sh|go|json))[`.:]", text) if "<" not in path}
    own = set(re.findall(r"^`([^`]+)`$", text, re.MULTILINE)) if document == EXAMPLES else set()
    missing = [path for path in named - own if not path.startswith(("…", "supervisor-")) and not any((ROOT / start / path).exists() for start in BESIDE)]
    assert [path for path in missing if not path.startswith("DATA_DIR") and "/log/" not in path] == []


def test_the_readme_leads_to_every_document() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    seconds = {"docs/chaos.md"}  # the figures behind docs/durability.md, which leads there
    assert [name for name in DOCUMENTS if name != "README.md" and f"]({name})" not in text and name not in seconds] == []


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/developing.md", "docs/operations.md", "docs/architecture.md"])
def test_words_are_plain(document: str) -> None:
    text = (ROOT / document).read_text("utf-8").replace('Neither "successfully" nor "please".', "")
    assert re.findall(r"(?i)\b(successfully|please|simply|easily)\b", text) == []


def test_commands_that_are_named_are_targets_and_subcommands() -> None:
    texts = "\n".join((ROOT / name).read_text("utf-8") for name in DOCUMENTS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", texts)) <= targets
    commands = set(re.findall(r'add_parser\("([a-z-]+)"', (ROOT / "run.py").read_text())) | set(re.findall(r'^    "(\w+)": ', (ROOT / "run.py").read_text(), re.MULTILINE))
    found = set(re.findall(r"(?:`|python )run\.py ([a-z][a-z-]+)", texts))
    assert len(found) > 6 and found <= commands
