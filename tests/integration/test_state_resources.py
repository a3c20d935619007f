"""A server's Terraform resource, to read: whole, but for what is secret."""

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

from app.models import User
from tests.integration import rows

Client = Any


@pytest.fixture
def operator(olga: User, client_for: Callable[..., Client]) -> Client:
    return client_for(olga)


def test_the_newest_state_is_shown_with_its_versions_and_without_its_secrets(olga: User, operator: Client) -> None:
    made = rows.workspace(olga, "web")
    run = rows.run(made, olga)
    rows.keep(run, rows.state(1, web={"vm_id": 101}))
    hidden = {"cipher": "by-mark", "initialization": [{"user_account": [{"username": "ubuntu", "password": "by-name"}]}], "cores": 4}
    rows.keep(run, rows.state(2, ("cipher",), web={"vm_id": 101, **hidden}, other={"vm_id": 102}))
    page = unescape(operator.get("/servers/web/terraform", headers={"HX-Request": "true"}).text)
    assert '"cores": 4' in page and '"username": "ubuntu"' in page and 'server["web"]' in page
    assert "by-mark" not in page and "by-name" not in page and "••••••" in page
    assert '"vm_id": 102' not in page
    assert "Version 2" in page and "Version 1" in page
    assert "<html" in operator.get("/servers/web/terraform").text


def test_without_a_state_it_says_so_and_others_see_nothing(
    olga: User, operator: Client, make_user: Callable[..., Any], client_for: Callable[..., Client]
) -> None:
    rows.workspace(olga, "web")
    assert "No state has this server yet." in operator.get("/servers/web/terraform").text
    assert client_for(make_user("developer", "dora")).get("/servers/web/terraform").status_code == 404
