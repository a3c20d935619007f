"""Every page as those see it who may not do everything: it opens, or it says which permission is missing."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.extensions import db
from tests.integration import crowd
from tests.site import pages

Make = Callable[..., Any]


def sql(query: str) -> list[tuple[object, ...]]:
    with db.engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query)).all()]


@pytest.mark.parametrize("role", ["viewer", "developer", "operator"])
def test_who_may_not_is_told_which_permission_is_missing_and_the_way_back(client_for: Make, make_user: Make, role: str) -> None:
    crowd.crowd(make_user("administrator", "root"), 3)
    client = client_for(make_user(role), "cookie")
    seen: dict[int, list[str]] = {200: [], 403: [], 404: []}
    for page in pages(sql):
        if page.path == "/login":
            continue
        answer = client.get(page.path)
        assert answer.status_code in seen, f"{page.path}: {answer.status_code}"
        seen[answer.status_code].append(page.path)
        if answer.status_code != 200:
            said = re.search(r'<section class="card oops" role="alert">.*?</section>', answer.text, re.DOTALL)
            assert said and 'href="/"' in said[0] and '<nav' in answer.text, page.path
        if answer.status_code == 403:
            assert said and re.search(r"“[a-z_]+”", said[0]), page.path
    assert "/servers" in seen[200] and "/account" in seen[200]
    assert any(path.startswith("/admin/users") for path in seen[403])
    # What is not theirs is not there for developers; who may see everything is told what they may not do.
    assert bool(seen[404]) == (role == "developer")
