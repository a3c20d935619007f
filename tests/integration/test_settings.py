"""Settings: bounds, audit, masks; and what a first start leaves behind."""

import stat
import time
from dataclasses import asdict

import pytest
from sqlalchemy import func, select

from app.adapters import figures
from app.config import get_settings
from app.extensions import db
from app.models import Project, User
from app.services import first_start, settings, users
from app.services.uow import unit_of_work


def test_defaults_hold_until_changed_and_changes_are_audited(client_for, make_user):
    client = client_for(make_user("administrator"))
    assert client.get("/api/settings").json["settings"] == asdict(settings.RuntimeSettings())
    assert client.patch("/api/settings", json={"plan_expiry_s": 3600}).json["settings"]["plan_expiry_s"] == 3600
    assert settings.get(db.session()).plan_expiry_s == 3600
    entry = client.get("/api/audit?action=settings.change").json["items"][0]
    assert entry["detail"] == {"changes": {"plan_expiry_s": [86400, 3600]}}


def test_values_out_of_bounds_are_faults_of_their_fields(client_for, make_user):
    answer = client_for(make_user("administrator")).patch(
        "/api/settings", json={"parallelism": 0, "slots_per_node": 999}
    )
    assert {e["field"] for e in answer.json["errors"]} == {"parallelism", "slots_per_node"}


def test_a_clone_may_not_take_longer_than_its_run(client_for, make_user):
    client = client_for(make_user("administrator"))
    deadline = get_settings().run_deadline_s
    [fault] = client.patch("/api/settings", json={"clone_timeout_s": deadline + 1}).json["errors"]
    assert fault["field"] == "clone_timeout_s" and "RUN_DEADLINE_S" in fault["message"]
    assert client.patch("/api/settings", json={"clone_timeout_s": deadline}).status_code == 200


def test_bounds_are_told_in_the_unit_of_the_field(client_for, make_user):
    client = client_for(make_user("administrator"), "cookie")
    form = {name: str(value) for name, value in asdict(settings.RuntimeSettings()).items()}
    page = client.post("/admin/settings", data=form | {"plan_expiry_h": "1", "clone_timeout_min": "1"}).text
    assert "At least 5." in page and "At least 300." not in page


def test_only_administrators_see_the_configuration(client_for, make_user):
    assert client_for(make_user("operator")).get("/api/settings").status_code == 403


def test_the_effective_configuration_names_sources_and_masks_every_secret(client_for, make_user):
    answer = client_for(make_user("administrator")).get("/api/settings")
    config = get_settings()
    lines = {line["name"]: (line["value"], line["source"]) for line in answer.json["effective"]}
    assert lines["SECRET_KEY"] == ("***", "environment")
    assert lines["PORT"] == (str(config.port), "environment")
    assert lines["FLOWER_PORT"] == ("5555", "default")
    for secret in (config.secret_key, config.redis_password, *config.encryption_keys):
        assert secret.get_secret_value() not in answer.text
    assert ":***@" in lines["DATABASE_URL"][0]


@pytest.fixture
def password_file():
    path = get_settings().data_dir / first_start.ADMIN_PASSWORD_FILE
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


def test_a_first_start_makes_an_administrator_whose_password_only_the_owner_reads(password_file):
    first_start.ensure(get_settings())
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    user = users.authenticate(db.session(), "admin", password_file.read_text().strip())
    assert user is not None
    assert user.password_is_first
    assert settings.installation_id(db.session())


def test_later_starts_change_nothing(password_file):
    first_start.ensure(get_settings())
    before, made = password_file.read_text(), settings.installation_id(db.session())
    first_start.ensure(get_settings())
    assert password_file.read_text() == before
    assert settings.installation_id(db.session()) == made
    assert db.session.scalar(select(func.count()).select_from(User)) == 1
    assert db.session.scalar(select(func.count()).select_from(Project)) == 1


def test_the_password_file_goes_once_the_password_was_changed(password_file):
    first_start.ensure(get_settings())
    with unit_of_work() as uow:
        admin = users.find(uow.session, "admin")
        admin.password_is_first = False
    first_start.ensure(get_settings())
    assert not password_file.exists()


def test_administrators_find_flower_and_the_workers_that_are_there(client_for, make_user, store):
    store.delete(figures.WORKERS_KEY)
    person = make_user("administrator")
    administrator = client_for(person, "cookie")
    page = administrator.get("/admin/settings").text
    assert 'href="http://localhost:5555"' in page and "asks for FLOWER_USER and FLOWER_PASSWORD" in page
    assert "none: nothing is made or changed" in page
    store.zadd(figures.WORKERS_KEY, {"terraform@one": time.time()})
    assert "<code>terraform@one</code>" in administrator.get("/admin/settings").text
    elsewhere = client_for(person).get("/admin/settings", base_url="http://servers.example.org").text
    assert "listens on the server’s own machine only" in elsewhere
    assert client_for(make_user("operator"), "cookie").get("/admin/settings").status_code == 403
