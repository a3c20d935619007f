"""Documents that are executed: the code blocks of a Markdown file, and a copy of the product with its examples put in.

A file's block follows a line that names the file in backticks. `diff` changes a file that is there (lines with a space or a minus
must be in it once), `po` is added at its end, anything else is a new file. `sh` blocks are commands; `sh written` are those that write what follows from the examples.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:^`(?P<place>[^`\n]+)`\n\n)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHARED = (".venv", ".tools", "node_modules")
LEFT = (".git", "var", "pictures", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "test-results")


@dataclass(frozen=True)
class Block:
    """A fenced block: the file it is or changes, empty for none; what is behind the fence; the heading that it stands under."""

    place: str
    kind: str
    text: str
    heading: str


def blocks(document: str) -> Iterator[Block]:
    """Yield a document's blocks in their order."""
    text = (ROOT / document).read_text("utf-8")
    for match in BLOCK.finditer(text):
        above = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text[: match.start()], flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
        yield Block(match["place"] or "", match["kind"], match["text"], above[-1])


def copied(target: Path) -> Path:
    """Copy the product; what set-up made is shared."""
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*SHARED, *LEFT))
    for name in SHARED:
        (target / name).symlink_to((ROOT / name).resolve())
    return target


def put(root: Path, block: Block) -> None:
    """Do with a file of the copy what the block says."""
    path = root / block.place
    if block.kind == "diff":
        lines = block.text.splitlines(keepends=True)
        assert all(line[0] in " +-" for line in lines), f"not a change: {block.text}"
        old, new = ("".join(line[1:] for line in lines if line[0] != other) for other in "+-")
        there = path.read_text("utf-8")
        assert there.count(old) == 1, f"{there.count(old)} times in {block.place}:\n{old}"
        path.write_text(there.replace(old, new), "utf-8")
    elif block.kind == "po":
        path.write_text(path.read_text("utf-8") + "\n" + block.text, "utf-8")
    else:
        assert not path.exists(), f"{block.place} is there already"
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, "utf-8")
