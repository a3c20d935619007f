"""What an instance keeps, what it refuses, and what `info` says."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import ROOT, load_settings
from embedded.process import start_time
from launcher.info import info
from launcher.instance import Instance, Pids, Refusal, check_ports, free_port, locked, make_directories, port_free, write_json
from launcher.parts import beat, environment, flower, web


def environ(directory: Path, **more: str) -> dict[str, str]:
    return {"DATA_DIR": str(directory), "ENV_FILE": os.devnull, **more}


def run(directory: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Call run.py as a person does."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=directory,
        env={"PATH": os.defpath, **environ(directory / "data", **more)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_secrets_and_ports_are_made_once_and_kept(tmp_path: Path) -> None:
    settings = load_settings(environ(tmp_path, SIM_CONTROL="1"), tmp_path)
    first = Instance(tmp_path)
    first.complete(settings)
    second = Instance(tmp_path)
    second.complete(load_settings(environ(tmp_path, SIM_CONTROL="1"), tmp_path))
    assert first.values == second.values
    assert len({v for k, v in first.values.items() if k.endswith("_port")}) == 4
    assert (tmp_path / "instance.json").stat().st_mode & 0o777 == 0o600
    settings = load_settings(environ(tmp_path), tmp_path)
    assert settings.database_url == first.values["database_url"]
    assert settings.encryption_key_texts == (first.values["encryption_keys"],)
    assert not settings.configured_database
    assert not settings.configured_redis


def test_nothing_is_made_for_what_is_configured_elsewhere(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    instance.complete(
        load_settings(environ(tmp_path, DATABASE_URL="postgresql://a:b@db/c", REDIS_HOST="r", SIMULATOR="off", SECRET_KEY="x"), tmp_path)
    )
    assert set(instance.values) == {"encryption_keys", "flower_password"}


def test_a_kept_port_that_somebody_took_is_replaced(tmp_path: Path) -> None:
    settings = load_settings(environ(tmp_path), tmp_path)
    Instance(tmp_path).complete(settings)
    kept = Instance(tmp_path).port("postgres_port")
    with socket.create_server(("127.0.0.1", kept)):
        instance = Instance(tmp_path)
        instance.complete(settings)
    assert instance.port("postgres_port") != kept
    assert str(instance.port("postgres_port")) in instance.text("database_url")


def test_a_damaged_instance_file_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_text("{}")
    with pytest.raises(Refusal, match="damaged"):
        Instance(tmp_path)


def test_a_second_instance_on_the_same_data_is_refused(tmp_path: Path) -> None:
    make_directories(tmp_path / "data")
    with locked(tmp_path / "data"):
        done = run(tmp_path)
    assert done.returncode == 2
    assert f"another instance (process {os.getpid()}) already runs in {tmp_path / 'data'}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT"])
def test_a_port_in_use_is_one_sentence_with_the_way_out(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ports = {"PORT": str(free_port(set())), "FLOWER_PORT": str(free_port(set())), name: str(port)}
        done = run(tmp_path, **ports)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert f"{name}=" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_one_port_for_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="both 7000"):
        check_ports(load_settings(environ(tmp_path, PORT="7000", FLOWER_PORT="7000"), tmp_path))


def test_a_free_port_is_free(tmp_path: Path) -> None:
    port = free_port(set())
    assert port_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        assert not port_free("127.0.0.1", port)


def test_info_says_null_for_everything_that_does_not_run(tmp_path: Path) -> None:
    done = run(tmp_path, "info")
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert facts["web"] is None
    assert facts["flower"] is None
    assert facts["simulator"] is None
    assert facts["admin"] == {"username": "admin", "password_file": None}
    assert facts["data_dir"] == str(tmp_path / "data")
    assert set(facts["pids"]) == {"web", "worker", "worker_actions", "beat", "flower", "postgres", "valkey", "simulator"}
    assert not any(facts["pids"].values())


def test_info_tells_the_living_from_the_dead_and_from_reused_numbers(tmp_path: Path) -> None:
    pids = Pids(tmp_path)
    pids.begin({"web": "http://127.0.0.1:5000", "flower": "http://127.0.0.1:5555"})
    me = os.getpid()
    pids.note("web", me)
    pids.note("simulator", me)
    began = start_time(me)
    assert began is not None
    write_json(tmp_path / "pids.json", {"pids": {**{k: list(v) for k, v in pids.entries.items()}, "flower": [me, began - 1]}, "urls": pids.urls})
    directory = tmp_path / "simulator"
    directory.mkdir()
    write_json(directory / "connection.json", {"url": "https://127.0.0.1:8006/api2/json", "ca": "/ca", "token_id": "a@pve!b"})
    (tmp_path / "admin-password").write_text("x")
    # Another process, which knows nothing but DATA_DIR.
    facts = info(load_settings(environ(tmp_path, PORT="1"), tmp_path))
    assert facts["web"] == "http://127.0.0.1:5000"
    assert facts["flower"] is None
    assert (facts["pids"]["web"], facts["pids"]["flower"], facts["pids"]["beat"]) == (me, None, None)
    assert facts["admin"]["password_file"] == str(tmp_path / "admin-password")
    assert facts["simulator"] == {
        "endpoint": "https://127.0.0.1:8006",
        "token_id": "a@pve!b",
        "token_file": str(directory / "token"),
        "ca_file": "/ca",
        "control": None,
    }


def test_no_secret_stands_in_the_arguments_of_a_part(tmp_path: Path) -> None:
    settings = load_settings(environ(tmp_path, FLOWER_PASSWORD="hunter2hunter2", DATABASE_URL="postgresql://a:hunter2@b/c"), tmp_path)
    commands = [web(settings), beat(settings), flower(settings)]
    assert not [c.name for c in commands if "hunter2" in " ".join(c.argv)]
    assert flower(settings).extra == {"FLOWER_BASIC_AUTH": "admin:hunter2hunter2"}


def test_a_part_gets_places_it_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    settings = load_settings(environ(tmp_path), tmp_path)
    env = environment(settings, web(settings))
    assert env["HOME"] == str(tmp_path / "home")
    assert env["TMPDIR"] == str(tmp_path / "tmp")
    assert env["DATA_DIR"] == str(tmp_path)


def test_a_part_alone_without_a_database_is_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "web")
    assert done.returncode == 2
    assert done.stderr.startswith("Configuration: no database: set DATABASE_URL")


def test_flower_alone_without_a_password_is_refused(tmp_path: Path) -> None:
    more = {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c", "REDIS_HOST": "127.0.0.1", "SECRET_KEY": "x", "ENCRYPTION_KEYS": "y"}
    done = run(tmp_path, "flower", **more)
    assert done.returncode == 2
    assert "FLOWER_PASSWORD is not set" in done.stderr
