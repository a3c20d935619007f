"""A page asks the database as often for sixty rows as for three, and as often as `query_counts.json` says.

    .venv/bin/python -m scripts.query_counts      # writes that file anew; look at the difference before it is kept
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event, text

from app.extensions import db
from tests.integration import crowd
from tests.integration.conftest import emptied
from tests.site import pages

BASELINE = Path(__file__).with_name("query_counts.json")
COMMAND = ".venv/bin/python -m scripts.query_counts"
FEW, MANY = 3, 60
KEPT = ("facets:*", "counts:*", "stat:*")


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements sent meanwhile."""
    sent: list[str] = []

    def note(_conn, _cursor, statement, *_):
        sent.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def sql(query):
    with db.engine.connect() as conn:
        return conn.execute(text(query)).all()


def walked(client_for, make_user, store, n: int) -> dict[str, list[str]]:
    """What each page asks when there are n of everything."""
    emptied()
    admin = make_user("administrator", "root")
    crowd.crowd(admin, n)
    signed_in, stranger, found = client_for(admin, "cookie"), client_for(), {}
    for page in pages(sql):
        client = stranger if page.path == "/login" else signed_in
        # Settings and who is asking are remembered: what a page costs is what it costs the second time.
        assert client.get(page.path).status_code == 200, page.path
        # What is kept for some seconds only is asked anew: the dearer case counts.
        if kept := [key for kind in KEPT for key in store.scan_iter(kind, count=1000)]:
            store.delete(*kept)
        with counted() as sent:
            client.get(page.path)
        found[page.rule] = sent
    return found


def test_the_number_of_statements_of_a_page_does_not_grow_with_its_rows(client_for, make_user, store):
    few, many = walked(client_for, make_user, store, FEW), walked(client_for, make_user, store, MANY)
    assert few.keys() == many.keys()
    grown = {rule: (len(few[rule]), len(many[rule]), _most(many[rule])) for rule in few if len(few[rule]) != len(many[rule])}
    assert not grown, "\n".join(f"{rule}: {a} statements with {FEW} rows, {b} with {MANY}; most often: {most}" for rule, (a, b, most) in grown.items())
    counts = {rule: len(sent) for rule, sent in sorted(many.items())}
    if os.environ.get("WRITE_QUERY_COUNTS") == "1":
        BASELINE.write_text(json.dumps(counts, indent=1) + "\n")
    known = json.loads(BASELINE.read_text())
    other = {rule: (known.get(rule), counts.get(rule)) for rule in sorted({*known, *counts}) if known.get(rule) != counts.get(rule)}
    assert not other, "\n".join(f"{rule}: {b} statements, {a} in the baseline" for rule, (a, b) in other.items()) + f"\nWhen that is meant: {COMMAND}"


def _most(sent: list[str]) -> str:
    return " ".join(max(set(sent), key=sent.count).split())[:300]
