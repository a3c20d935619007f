"""Write docs/failures.md from the failure catalogue, its texts and the buttons; a test compares it.

    python -m scripts.failures_doc
"""

import re
from pathlib import Path

from flask import Flask
from flask_babel import Babel

from app.domain.failures import CATALOGUE, Failure, Remedy
from app.messages import HINTS, MESSAGES
from app.routes.remedies import TRY_AGAIN, WORDS

FILE = Path(__file__).resolve().parent.parent / "docs" / "failures.md"
PAGE = """# Why a run failed, and what to do

The catalogue of known failures (`app/domain/failures.py`) as the run's page tells them: what happened, what to do next, and a
button where the product can do it, for readers whose role may. A change or a deletion is tried again as it is, whatever could be
chosen for a new server. Terraform's own words stand below each explanation, and alone when nothing here matches them.

`tests/simulator/test_failures.py` brings them about in the simulated cluster, through the real provider and the real Terraform.
This page is written by `python -m scripts.failures_doc`.

## Found in what Terraform says

The first row that matches wins.

{found}

## Found by the run itself

{own}
"""


def page() -> str:
    """Return the page as it must be."""
    app = Flask("app")
    Babel(app)
    with app.app_context():
        return PAGE.format(
            found=_table([f for f in CATALOGUE if f.pattern]), own=_table([f for f in CATALOGUE if not f.pattern])
        )


def _table(failures: list[Failure]) -> str:
    rows = [f"| `{f.code}` | {_shown(MESSAGES[f.code])} | {_shown(HINTS[f.code])} | {_button(f.remedy)} |" for f in failures]
    return "\n".join(["| code | what happened | what to do | button |", "|---|---|---|---|", *rows])


def _shown(text: object) -> str:
    return re.sub(r"%\((\w+)\)s", r"*\1*", str(text)).replace("|", "\\|")


def _button(remedy: Remedy) -> str:
    if remedy == Remedy.NONE:
        return "–"
    return f"{WORDS[remedy]}, {TRY_AGAIN}" if remedy == Remedy.RETRY else str(WORDS[remedy])


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
