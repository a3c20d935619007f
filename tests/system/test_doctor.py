"""`run.py doctor`: on a healthy instance all is well; each thing that is broken is named, with what to do about it."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults_surroundings import NO_CLOCK, library
from tests.stack import ROOT, Stack, eventually


def doctor(stack: Stack, limit: Callable[[], None] | None = None, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Ask it; returns the exit code and what it found, by name."""
    told = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "doctor", "--json"], cwd=ROOT, env={**stack.env, **environment}, capture_output=True, text=True,
        timeout=60, check=False, preexec_fn=limit,
    )  # fmt: skip
    assert told.stdout, told.stderr
    return told.returncode, {one["name"]: one for one in json.loads(told.stdout)}


def bad(found: tuple[int, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    assert found[0] == 1
    return {name: one for name, one in found[1].items() if not one["ok"]}


def test_on_a_healthy_instance_all_is_well(stack: Stack) -> None:
    eventually(lambda: doctor(stack)[0] == 0, 60, f"all is well: {doctor(stack)}")
    _, found = doctor(stack)
    assert list(found) == ["configuration", "database", "keys", "redis", "broker", "worker", "terraform", "provider", "cluster", "clock", "disk"]
    assert "3 of 3 nodes online" in found["cluster"]["text"] and "0.111.1" in found["provider"]["text"]
    shown = subprocess.run([sys.executable, str(ROOT / "run.py"), "doctor"], cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=60, check=True)
    assert len(shown.stdout.splitlines()) == len(found) and "BAD" not in shown.stdout


@pytest.mark.parametrize(("name", "environment", "advice"), [
    ("configuration", {"PORT": "none"}, ".env.example"),
    ("database", {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "pg_isready"),
    ("keys", {"ENCRYPTION_KEYS": "quite-another-key-than-that-of-the-data-0123456789"}, "restore"),
    ("redis", {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1"}, "redis-cli"),
    ("broker", {"CELERY_BROKER_URL": "amqp://nobody@127.0.0.1:1//"}, "CELERY_BROKER_URL"),
    ("terraform", {"TERRAFORM_BIN": "/bin/false"}, "TERRAFORM_BIN"),
])  # fmt: skip
def test_what_is_configured_wrong_is_named_with_what_to_do(stack: Stack, name: str, environment: dict[str, str], advice: str) -> None:
    wrong = bad(doctor(stack, **environment))
    assert name in wrong and advice in wrong[name]["advice"], wrong
    # One fault is not told as many: only what hangs together with it.
    assert wrong.keys() <= {name, "broker", "worker, cluster, clock", "cluster", "provider"}, wrong


def test_a_provider_that_nobody_has_put_there_is_missed(stack: Stack, tmp_path: Path) -> None:
    """A Terraform that takes its providers from elsewhere has none of ours."""
    other = tmp_path / "tofu"
    other.write_text('#!/bin/sh\n[ "$1" = version ] && echo "OpenTofu v1.10.0" || echo "provider[elsewhere.example/bpg/proxmox]"\n')
    other.chmod(0o755)
    wrong = bad(doctor(stack, TERRAFORM_BIN=str(other)))
    assert wrong.keys() == {"provider"} and "TPM_PROVIDER_MIRROR" in wrong["provider"]["advice"]


def test_an_older_database_waits_for_its_migration(stack: Stack) -> None:
    [(revision,)] = stack.sql("select version_num from alembic_version")
    try:
        stack.sql_write("update alembic_version set version_num = '0001'")
        wrong = bad(doctor(stack))
        assert "migrat" in wrong["database"]["text"] and "run.py migrate" in wrong["database"]["advice"]
    finally:
        stack.sql_write(f"update alembic_version set version_num = '{revision}'")


def test_a_worker_that_does_nothing_is_missed(stack: Stack) -> None:
    worker = stack.info["pids"]["worker_actions"]
    os.kill(worker, signal.SIGSTOP)
    try:
        stack.sql_write("update setting set value = jsonb_set(value, '{at}', '\"2026-01-01T00:00:00+00:00\"') where key = 'sweeper.last_tick'")
        wrong = bad(doctor(stack))
        assert "run.py worker" in wrong["worker"]["advice"] and wrong.keys() == {"worker"}
    finally:
        os.kill(worker, signal.SIGCONT)


def test_a_cluster_that_does_not_answer_is_named_as_it_is_now(stack: Stack) -> None:
    stack.control("down", seconds=5)
    wrong = bad(doctor(stack))
    assert "simulated" in wrong["cluster"]["text"] and "Test connection" in wrong["cluster"]["advice"]
    eventually(lambda: doctor(stack)[1]["cluster"]["ok"], 60, "the cluster is back")


def test_a_clock_that_is_wrong_is_told_apart(stack: Stack) -> None:
    clock = library()
    if clock is None:
        pytest.skip(NO_CLOCK)
    wrong = bad(doctor(stack, LD_PRELOAD=clock, FAKETIME="+40", FAKETIME_DONT_FAKE_MONOTONIC="1"))
    assert "differ by" in wrong["clock"]["text"] and "timedatectl" in wrong["clock"]["advice"]


def test_a_folder_in_which_nothing_can_be_written_is_named(stack: Stack) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    wrong = bad(doctor(stack, full))
    assert "DATA_DIR" in wrong["disk"]["advice"] and Path(stack.data_dir).is_dir()
