"""`python -m scripts.failures` writes docs/failures.md: the failures that a run knows, from the catalogue itself."""

import re
from pathlib import Path

from flask import Flask
from flask_babel import Babel, force_locale

from app.domain.failures import CATALOGUE, OWN, Remedy, remedy
from app.messages import hint_of, text_of

PLACE = Path(__file__).resolve().parents[1] / "docs" / "failures.md"
HEAD = """# Failures a run explains

When Terraform, its provider or Proxmox says no, the run's page shows the cause, what to do, and a button where there is one. This table
is written by `python -m scripts.failures` from `app/domain/failures.py` and the catalogues of texts; a test compares them. Each failure of
the first table is produced in `tests/simulator/test_failures.py`, by the real Terraform and the real provider against the simulated
cluster. What is in neither table is shown in Terraform's own words, summary and detail, of the server they belong to.
"""
BUTTONS = {
    Remedy.RETRY: "Try again", Remedy.OTHER_NODE: "Choose another node", Remedy.OTHER_STORAGE: "Choose another storage",
    Remedy.OTHER_TEMPLATE: "Choose another template", Remedy.OTHER_NETWORK: "Choose another network", Remedy.CHANGE: "Change the values",
    Remedy.CLUSTER: "Open the cluster", Remedy.FORGET: "Forget the server", Remedy.NONE: "–",
}  # fmt: skip


def text() -> str:
    """Return the document."""
    app = Flask("failures")
    Babel(app)
    with app.test_request_context(), force_locale("en"):
        known = _rows([failure.code for failure in CATALOGUE])
        own = _rows([code for code in OWN if code not in {failure.code for failure in CATALOGUE}])
    return "\n".join([HEAD, "## What Terraform, provider and Proxmox say", "", *known, "", "## What a run finds out by itself", "", *own, ""])


def _rows(codes: list[str]) -> list[str]:
    out = ["| code | what happened | what to do | button |", "|---|---|---|---|"]
    for code in dict.fromkeys(codes):
        cells = (f"`{code}`", _plain(text_of(code, {})), _plain(hint_of(code, {})) or "–", BUTTONS[remedy(code)])
        out.append(f"| {' | '.join(cells)} |")
    return out


def _plain(said: str) -> str:
    return re.sub(r"\s+", " ", said).replace("|", "\\|")


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
