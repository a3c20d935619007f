"""Every writing route leaves its row in the audit list: a walk over the URL map."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app import create_app
from app.config import get_settings
from app.extensions import db
from app.models import AuditEvent
from tests.integration.walk import Example, World

# Writes nothing that is anybody else's business.
NO_AUDIT = {
    "prefs.csp_report": "a report of a browser, into the log",
    "prefs.theme": "a cookie of this browser",
    "api_notifications.read": "one's own mark of having read",
    "api_notifications.read_all": "one's own mark of having read",
    "notifications.read": "one's own mark of having read",
    "notifications.read_all": "one's own mark of having read",
    "schedules.times": "what the form would come to, which writes nothing",
    "bulk.review": "the question before, which writes nothing",
    "destinations.prefer": "what one wants to hear of",
    "api_destinations.prefer": "what one wants to hear of",
    "server_list.save": "a view of one's own",
    "server_list.forget": "a view of one's own",
    "networks.check": "a live check writes nothing",
    "servers.check": "a live check writes nothing",
    "servers.preview": "a live check writes nothing",
}
EXAMPLES: dict[str, Example] = {}
for _file in sorted(Path(__file__).parent.glob("examples_*.py")):
    EXAMPLES.update(import_module(f"tests.integration.{_file.stem}").EXAMPLES)


@cache
def _writing() -> dict[str, str]:
    rules = create_app(get_settings()).url_map.iter_rules()
    found = [(rule.endpoint, method) for rule in rules for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}]
    assert len(found) == len(dict(found)), "of an endpoint with two ways to write only one would be walked"
    return dict(found)


def test_every_writing_route_has_an_example_or_a_reason():
    known = [*EXAMPLES, *NO_AUDIT]
    assert sorted(known) == sorted(_writing())


@pytest.mark.parametrize("endpoint", sorted(EXAMPLES))
def test_a_writing_route_leaves_its_row_in_the_audit_list(app, endpoint, make_user, client_for, request):
    admin, example = make_user("administrator", "root"), EXAMPLES[endpoint]
    reader = client_for(make_user("administrator", "second"))

    def make_server(*args, **values):
        return request.getfixturevalue("make_server")(*args, **values)

    def connect():
        return request.getfixturevalue("cluster")

    world = World(admin, client_for(admin), client_for(admin, "cookie"), make_user, make_server, connect)
    values = example.prepare(world)
    with app.test_request_context():
        path = app.url_for(endpoint, **values)
    before = db.session.scalar(select(func.coalesce(func.max(AuditEvent.id), 0)))
    db.session.remove()
    is_api = path.startswith("/api/")
    client = world.client if is_api else world.browser
    body = {"json" if is_api else "data": example.body(world)}
    if example.by == "stranger":
        client = client_for()
        client.environ_base["HTTP_X_CSRFTOKEN"] = _anonymous_csrf(client)
    answer = client.open(path, method=_writing()[endpoint], **body)
    assert answer.status_code in example.statuses, answer.text
    listed = reader.get("/api/audit", query_string={"action": example.action}).json["items"]
    found = [row for row in listed if row["id"] > before]
    assert [row["action"] for row in found] == [example.action]
    assert (found[0]["username"], found[0]["address"]) == ("vera" if example.by else "root", "127.0.0.1")


def _anonymous_csrf(client) -> str:
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/login").text).group(1)
