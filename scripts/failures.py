"""`python -m scripts.failures` writes docs/failures.md: the failures that a run knows, from the catalogue itself."""

import re
from pathlib import Path

from flask import Flask
from flask_babel import Babel

from app.domain.failures import CATALOGUE, Failure, Remedy
from app.messages import HINTS, MESSAGES
from app.routes.remedies import WORDS

PLACE = Path(__file__).resolve().parents[1] / "docs" / "failures.md"
PAGE = """# Why a run failed, and what to do

When Terraform, its provider or Proxmox says no, the run's page shows the cause, what to do, and a button where the product can do
it and the reader's role may. Who asked for servers in vain chooses another node, storage, template or network in the form, which opens
with the rest as it was; while some of them are there, "Try again" goes on with the others. Terraform's own words stand below each
explanation, and alone when nothing here matches them.

This page is written by `python -m scripts.failures` from `app/domain/failures.py` and the catalogues of texts; a test compares them.
The failures of the first table are brought about in `tests/simulator/test_failures.py`, through the real Terraform and the real
provider in the simulated cluster.

## Found in what Terraform says

The first row that matches wins.

{found}

## Found by the run itself

{own}
"""


def text() -> str:
    """Return the page as it must be."""
    app = Flask("failures")
    Babel(app)
    with app.app_context():
        return PAGE.format(found=_table([f for f in CATALOGUE if f.pattern]), own=_table([f for f in CATALOGUE if not f.pattern]))


def _table(failures: list[Failure]) -> str:
    rows = [f"| `{f.code}` | {_shown(MESSAGES[f.code])} | {_shown(HINTS.get(f.code, '–'))} | {_button(f.remedy)} |" for f in failures]
    return "\n".join(["| code | what happened | what to do | button |", "|---|---|---|---|", *rows])


def _shown(said: object) -> str:
    return re.sub(r"\s+", " ", re.sub(r"%\((\w+)\)s", r"*\1*", str(said))).replace("|", "\\|")


def _button(remedy: Remedy) -> str:
    return "–" if remedy == Remedy.NONE else str(WORDS[remedy])


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
