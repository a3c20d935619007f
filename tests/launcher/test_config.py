"""Where settings come from, and the sentences that refuse wrong ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import ROOT, ConfigError, Settings, check_complete, check_secrets, load_settings

STRONG = "kX9-" + "abcdefghijklmnopqrstuvwxyz0123456789ABCD"
OTHER = "pQ7_" + "ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210dcba"


def load(directory: Path, **environ: str) -> Settings:
    """Settings from exactly this environment, with an empty place for data."""
    return load_settings({"DATA_DIR": str(directory / "data"), "ENV_FILE": str(directory / ".env"), **environ}, directory)


def instance(directory: Path, **values: object) -> None:
    (directory / "data").mkdir(exist_ok=True)
    (directory / "data" / "instance.json").write_text(json.dumps(values))


def test_environment_wins_over_env_file_wins_over_instance(tmp_path: Path) -> None:
    instance(tmp_path, port=1111, flower_port=1111, secret_key="from instance", web_workers=3)
    (tmp_path / ".env").write_text("PORT=2222\nFLOWER_PORT=2222\n")
    settings = load(tmp_path, PORT="3333")
    assert (settings.port, settings.source("port")) == (3333, "environment")
    assert (settings.flower_port, settings.source("flower_port")) == (2222, ".env")
    assert (settings.web_workers, settings.source("web_workers")) == (3, "instance")
    assert settings.source("sim_time_scale") == "default"
    assert settings.secret_key.get_secret_value() == "from instance"


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, PORT="", REDIS_HOST=" ").port == 5000


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{STRONG}\n")
    assert load(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key")).secret_key.get_secret_value() == STRONG


def test_a_relative_secret_file_lies_beside_the_env_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(STRONG)
    (tmp_path / ".env").write_text("SECRET_KEY_FILE=key\n")
    (tmp_path / "elsewhere").mkdir()
    settings = load_settings({"DATA_DIR": str(tmp_path / "data"), "ENV_FILE": str(tmp_path / ".env")}, tmp_path / "elsewhere")
    assert settings.secret_key.get_secret_value() == STRONG


@pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ("", "is empty")])
def test_a_secret_file_that_is_missing_or_empty_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=f"SECRET_KEY_FILE names .*{says}"):
        load(tmp_path, SECRET_KEY_FILE=str(path))


def test_the_ca_file_is_a_path_and_not_a_secret_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path, PROXMOX_ENDPOINT="https://pve:8006/api2/json/", PROXMOX_TOKEN_ID="a@pve!b", PROXMOX_TOKEN_SECRET="s", PROXMOX_CA_FILE="ca.pem"
    )
    assert settings.proxmox_ca_file == tmp_path / "ca.pem"
    assert settings.proxmox_endpoint == "https://pve:8006"
    assert not settings.simulator_wanted


def test_database_url_names_the_driver_and_takes_the_password(tmp_path: Path) -> None:
    settings = load(tmp_path, DATABASE_URL="postgresql://app@db:5433/x?sslmode=require", POSTGRES_PASSWORD="p@s:s")
    assert settings.database_url == "postgresql+psycopg2://app:p%40s%3As@db:5433/x?sslmode=require"
    assert settings.configured_database


def test_redis_host_makes_every_redis_address(tmp_path: Path) -> None:
    instance(tmp_path, redis_url="redis://:x@127.0.0.1:1/0", database_url="postgresql://a:b@127.0.0.1:2/c")
    settings = load(tmp_path, REDIS_HOST="r", REDIS_PORT="7", REDIS_PASSWORD="a b")
    assert settings.redis_url == settings.celery_broker_url == settings.celery_result_backend == "redis://:a%20b@r:7/0"
    assert settings.configured_redis
    assert not settings.configured_database


def test_an_amqp_broker_leaves_results_and_sessions_on_redis(tmp_path: Path) -> None:
    instance(tmp_path, redis_url="redis://:x@127.0.0.1:1/0")
    settings = load(tmp_path, CELERY_BROKER_URL="amqp://rabbit//")
    assert settings.celery_broker_url == "amqp://rabbit//"
    assert settings.celery_result_backend == settings.redis_url == "redis://:x@127.0.0.1:1/0"
    assert not settings.configured_redis


def test_a_redis_broker_is_the_redis(tmp_path: Path) -> None:
    settings = load(tmp_path, CELERY_BROKER_URL="redis://broker:6379/1")
    assert settings.redis_url == "redis://broker:6379/1"
    assert settings.configured_redis


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PORT": "eighty"}, "PORT is wrong"),
        ({"PORT": "70000"}, "PORT is wrong: .*65535"),
        ({"APP_ENV": "staging"}, "APP_ENV is wrong: .*'production'"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL is wrong: must begin with postgresql://"),
        ({"PROXMOX_ENDPOINT": "https://pve"}, "belong together"),
        ({"PROXMOX_ENDPOINT": "http://pve", "PROXMOX_TOKEN_ID": "a", "PROXMOX_TOKEN_SECRET": "b"}, "must begin with https://"),
        ({"SIM_TIME_SCALE": "-1"}, "SIM_TIME_SCALE is wrong"),
        ({"TERRAFORM_WORKERS": "0"}, "TERRAFORM_WORKERS is wrong"),
    ],
)
def test_a_wrong_value_is_one_sentence_naming_the_variable(tmp_path: Path, environ: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(tmp_path, **environ)
    assert "\n" not in str(caught.value)


def test_a_secret_never_stands_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, DATABASE_URL="mysql://user:hunter2@db/x")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(load(tmp_path, DATABASE_URL="postgresql://user:hunter2@db/x", SECRET_KEY="hunter2"))


GOOD = {
    "APP_ENV": "production",
    "SECRET_KEY": STRONG,
    "ENCRYPTION_KEYS": OTHER,
    "DATABASE_URL": "postgresql://app@db/app",
    "POSTGRES_PASSWORD": "long enough 1234",
    "REDIS_HOST": "redis",
    "REDIS_PASSWORD": "long enough 1234",
}


def test_production_accepts_strong_secrets(tmp_path: Path) -> None:
    check_complete(load(tmp_path, **GOOD))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"SECRET_KEY": ""}, "needs SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too weak"),
        ({"SECRET_KEY": "a" * 64}, "SECRET_KEY is too weak"),
        ({"ENCRYPTION_KEYS": ""}, "needs ENCRYPTION_KEYS"),
        ({"ENCRYPTION_KEYS": f"{OTHER},weak"}, "ENCRYPTION_KEYS is too weak"),
        ({"ENCRYPTION_KEYS": STRONG}, "must not contain SECRET_KEY"),
        ({"POSTGRES_PASSWORD": "postgres"}, "PostgreSQL password"),
        ({"POSTGRES_PASSWORD": ""}, "PostgreSQL password"),
        ({"REDIS_PASSWORD": ""}, "REDIS_PASSWORD"),
        ({"FLOWER_PASSWORD": "admin"}, "FLOWER_PASSWORD"),
    ],
)
def test_production_refuses_a_missing_or_weak_secret(tmp_path: Path, change: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        check_secrets(load(tmp_path, **(GOOD | change)))
    assert "\n" not in str(caught.value)


def test_production_does_not_take_the_secrets_that_a_trial_made(tmp_path: Path) -> None:
    instance(tmp_path, secret_key=STRONG, encryption_keys=OTHER)
    with pytest.raises(ConfigError, match="needs SECRET_KEY in the environment"):
        check_secrets(load(tmp_path, APP_ENV="production"))


def test_a_fault_ends_the_process_with_a_sentence_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from app.config import get_settings; get_settings()"],
        cwd=ROOT,
        env={"PATH": os.defpath, "DATA_DIR": str(tmp_path), "ENV_FILE": os.devnull, "PORT": "none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Configuration: PORT is wrong")
    assert len(done.stderr.splitlines()) == 1
