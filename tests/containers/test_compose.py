"""The Compose files: read by Docker Compose's own loader, then judged line by line."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load_settings, check_complete
from tests.containers import stacks
from tests.containers.tools import ROOT, said, tool

pytestmark = pytest.mark.timeout(660)  # the first one may have to build the loader

PINNED = re.compile(r"^[a-z0-9./_-]+:v?\d[\w.-]*$")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)")
SECRET = re.compile(r"PASSWORD|SECRET|_KEY|TOKEN_SECRET|BROKER_URL")
ONE_SHOT = {"migrate"}
EACH = pytest.mark.parametrize(("file", "name"), stacks.everywhere())
FILE = pytest.mark.parametrize("file", stacks.ALL)
OURS = pytest.mark.parametrize("file", stacks.FILES)


def part(file: str, name: str) -> dict[str, Any]:
    return stacks.services(file)[name]


@FILE
def test_docker_compose_can_read_the_file(file: str) -> None:
    assert stacks.loaded(file)["services"]


@FILE
def test_a_misspelt_key_would_be_noticed(file: str, tmp_path: Path) -> None:
    broken = stacks.copied(file, tmp_path)
    broken.write_text(broken.read_text().replace("    healthcheck:", "    heathcheck:", 1))
    done = said([tool("compose"), broken.name], cwd=tmp_path, env={"PATH": os.defpath})
    assert done.returncode and "heathcheck" in done.stderr


@EACH
def test_every_image_is_pinned_by_a_tag(file: str, name: str) -> None:
    assert PINNED.match(part(file, name)["image"]), part(file, name)["image"]


@EACH
def test_everything_that_stays_has_a_health_check(file: str, name: str) -> None:
    check = part(file, name).get("healthcheck", {})
    if name in ONE_SHOT:
        assert check.get("disable"), "it ends: nobody may wait for its health"
    else:
        assert check["test"][0] in ("CMD", "CMD-SHELL") and {"interval", "timeout", "retries"} <= set(check)


@EACH
def test_a_service_waits_until_what_it_needs_is_healthy(file: str, name: str) -> None:
    for other, how in part(file, name).get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if other in ONE_SHOT else "service_healthy"), other


@EACH
def test_our_parts_wait_for_postgres_and_redis(file: str, name: str) -> None:
    if part(file, name)["image"].startswith(stacks.OURS):
        wanted = {"postgres", "redis"} | (set() if name in ONE_SHOT else {"migrate"})
        assert wanted <= set(part(file, name)["depends_on"])


@EACH
def test_a_port_is_published_on_loopback_only(file: str, name: str) -> None:
    for port in part(file, name).get("ports", []):
        assert port["host_ip"] == "127.0.0.1", port


@EACH
def test_a_secret_comes_from_a_file(file: str, name: str) -> None:
    mounted = {f"/run/secrets/{s['source']}" for s in part(file, name).get("secrets", [])}
    values = {k: v for k, v in (part(file, name).get("environment") or {}).items() if v and SECRET.search(k)}
    for variable, value in values.items():
        assert variable.endswith("_FILE") and value in mounted, variable


@EACH
def test_the_root_file_system_of_our_parts_is_read_only_and_nothing_is_privileged(file: str, name: str) -> None:
    service = part(file, name)
    assert not service.get("privileged") and "no-new-privileges:true" in service["security_opt"]
    if service["image"].startswith(stacks.OURS):
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        places = [v["target"] for v in service.get("volumes", [])] + [t.partition(":")[0] for t in service.get("tmpfs", [])]
        assert "/data" in places


@FILE
def test_every_variable_of_the_file_is_explained_in_env_example(file: str) -> None:
    explained = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(VARIABLE.findall((ROOT / file).read_text())) <= explained


@FILE
def test_a_default_in_the_file_is_the_default_of_the_program(file: str) -> None:
    for variable, default in re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", (ROOT / file).read_text()):
        field = Settings.model_fields.get(variable.lower())
        if field is not None and field.default is not None:
            assert default == str(field.default), variable


def test_every_setting_is_in_env_example() -> None:
    explained = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert {name.upper() for name in Settings.model_fields} <= explained


@OURS
def test_a_worker_that_is_stopped_has_the_time_to_finish_what_it_began(file: str) -> None:
    longest = int(Settings.model_fields["run_deadline_grace_s"].default)
    for name, service in stacks.services(file).items():
        command = service.get("command") or []
        runs = "worker" in command and ("-Q" not in command or "terraform" in command[command.index("-Q") + 1])
        if runs:
            assert stacks.seconds(service["stop_grace_period"]) > longest, name


@OURS
def test_rabbitmq_is_there_only_when_asked_for_and_is_the_broker_then(file: str) -> None:
    plain, asked = stacks.loaded(file)["services"], stacks.loaded(file, RABBITMQ="1")["services"]
    assert plain["rabbitmq"]["profiles"] == ["rabbitmq"] and plain["rabbitmq"]["image"].startswith("rabbitmq:4")
    assert plain["rabbitmq"]["healthcheck"]["test"] == ["CMD", "rabbitmq-diagnostics", "-q", "ping"]
    assert "15672" in [p["published"] for p in plain["rabbitmq"]["ports"]]
    for name, service in asked.items():
        if service["image"].startswith(stacks.OURS):
            assert service["environment"]["CELERY_BROKER_URL_FILE"] == "/run/secrets/broker_url"
            assert not plain[name]["environment"]["CELERY_BROKER_URL_FILE"]
            assert service["depends_on"]["rabbitmq"] == {"condition": "service_healthy", "required": False}


@OURS
def test_redis_keeps_waiting_messages_and_shows_its_password_to_nobody(file: str) -> None:
    redis = stacks.services(file)["redis"]
    assert redis["image"] == "redis:7-alpine"
    lines = (ROOT / "redis/redis.conf").read_text().splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(lines)
    assert "requirepass %s" in " ".join(redis["command"]) and "--requirepass" not in " ".join(redis["command"])


def test_the_stores_beside_a_web_server_are_those_that_the_readme_names() -> None:
    found = stacks.services("redis/docker-compose.yml")
    assert set(found) == {"redis", "postgres", "migrate", "celery-worker", "flower", "rabbitmq"}
    assert found["postgres"]["image"] == "postgres:15-alpine"
    assert found["celery-worker"]["command"] == ["python", "run.py", "worker", "--concurrency", "2", "-B"]
    assert [p["published"] for p in found["flower"]["ports"]] == ["5555"]


@OURS
def test_secrets_are_made_once_and_every_one_that_is_asked_for(file: str, tmp_path: Path) -> None:
    place = tmp_path / "docker"
    place.mkdir()
    (place / "secrets.sh").write_text((ROOT / "docker/secrets.sh").read_text())
    made = [said(["sh", str(place / "secrets.sh")]) for _ in range(2)]
    assert [done.returncode for done in made] == [0, 0], made
    files = {path.name: path.read_text() for path in (place / "secrets").iterdir()}
    asked = {Path(s["file"]).name for name, s in stacks.loaded(file)["secrets"].items() if name != "proxmox_token_secret"}
    assert asked <= set(files)
    texts = [text for name, text in files.items() if name != "broker_url"]
    assert len(set(texts)) == len(texts) and all(len(text) == 48 for text in texts)
    assert files["broker_url"] == f"amqp://app:{files['rabbitmq_password']}@rabbitmq:5672//"
    assert (place / "secrets").stat().st_mode & 0o777 == 0o700
    said(["sh", str(place / "secrets.sh")])
    assert files == {path.name: path.read_text() for path in (place / "secrets").iterdir()}


def test_a_web_server_on_this_machine_accepts_what_the_stores_were_started_with(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/secrets.sh").write_text((ROOT / "docker/secrets.sh").read_text())
    assert said(["sh", str(tmp_path / "docker/secrets.sh")]).returncode == 0
    (tmp_path / ".env").write_text((ROOT / "redis/host.env").read_text())
    settings = load_settings({"ENV_FILE": str(tmp_path / ".env"), "DATA_DIR": str(tmp_path / "var")}, tmp_path)
    check_complete(settings)
    assert settings.app_env == "production" and settings.configured_database and settings.configured_redis


@FILE
def test_each_folder_reads_the_env_file_of_the_repository(file: str) -> None:
    link = (ROOT / file).with_name(".env")
    assert link.is_symlink() and link.readlink() == Path("../.env")
