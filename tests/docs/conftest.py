"""The product with the examples of docs/developing.md in it, running; set-up and database are its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.examples import blocks, copied, put
from tests.stack import Stack, running

Run = Callable[..., str]


def plain() -> dict[str, str]:
    """The environment of a person who checks a copy: nothing of this process's own settings."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product with everything that the document adds."""
    root = copied(tmp_path_factory.mktemp("developing") / "product")
    for block in blocks("docs/developing.md"):
        if block.place:
            put(root, block)
        elif block.kind == "sh written":
            subprocess.run(["sh", "-ec", block.text], cwd=root, env=plain(), stdout=subprocess.DEVNULL, timeout=300, check=True)
    subprocess.run([sys.executable, "-m", "babel.messages.frontend", "-q", "compile", "-d", "app/translations", "-D", "messages"], cwd=root, check=True)
    return root


@pytest.fixture(scope="session")
def stack(product: Path) -> Iterator[Stack]:
    with running(product) as made:
        yield made


@pytest.fixture(scope="session")
def run(product: Path) -> Run:
    """`run("-m", "scripts.check_templates")`: what Python prints in the copy; a fault there fails the test."""

    def ran(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=product, env=plain(), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    return ran
