"""A backup of a running instance, restored: the same servers, states and people, and never a hand on the original's VMs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.stack import ROOT, Stack, eventually, running


def run_py(stack: Stack, *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(ROOT / "run.py"), *argv], cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def original() -> Iterator[Stack]:
    with running() as stack:
        stack.api().made("kept", tags=["before"])
        yield stack


@pytest.fixture(scope="module")
def saved(original: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backup of a moment at which a run was making the server `late`."""
    file = tmp_path_factory.mktemp("backup") / "instance.backup"
    original.control("time", clone_seconds=4)
    api = original.api()
    run = api.create("late")["run_id"]
    eventually(lambda: any(vm["lock"] == "clone" for vm in original.vms().values()), 60, "the clone has begun")
    done = run_py(original, "backup", str(file))
    assert done.returncode == 0, done.stderr
    api.wait_run(run, "applied")
    return file


@contextlib.contextmanager
def restored(saved: Path, *flags: str) -> Iterator[Stack]:
    """An instance out of the backup. It has no simulated cluster of its own: it reaches the original's."""
    place = Stack(saved.parent / f"copy{''.join(flags)}", {"SIMULATOR": "off"})
    done = run_py(place, "restore", str(saved), *flags)
    assert done.returncode == 0, done.stderr
    place.start()
    try:
        yield place
    finally:
        place.stop()


def installation(stack: Stack) -> str:
    return str(stack.sql("select value->>'id' from setting where key = 'installation_id'")[0][0])


CONTENT = """
    select (select json_agg(u order by u.id) from (select id, username, password_hash, role from "user") u)::text,
           (select json_agg(s order by s.id) from (select id, name, vmid, tags, nics, disks from server) s)::text,
           (select string_agg(encode(body, 'hex'), ',' order by id) from state_version where workspace_id = (select workspace_id from server where name = 'kept'))
"""


def test_a_backup_is_readable_for_its_owner_only_and_never_overwrites(original: Stack, saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600
    again = run_py(original, "backup", str(saved))
    assert (again.returncode, "exists" in again.stderr) == (2, True)


def test_a_copy_has_everything_but_is_an_installation_of_its_own_that_never_touches_the_originals_servers(original: Stack, saved: Path) -> None:
    with restored(saved) as copy:
        assert copy.sql(CONTENT) == original.sql(CONTENT)
        assert installation(copy) != installation(original)
        api, vms = copy.api(), original.vms()
        assert api.get("/api/servers/late")["status"] == "failed"
        assert [run["error"]["code"] for run in api.get("/api/runs?state=failed")["items"]] == ["restored_copy"]
        change = api.change("kept", tags=["copy"])["run_id"]
        assert (api.run(change)["state"], api.run(change)["waiting"]["code"]) == ("plan_queued", "waiting_for_resume")
        assert api.post("/api/settings/resume-runs").json["resumed"]
        assert api.wait_run(change, "errored")["error"]["code"] == "server_replaced"
        stopped = api.post("/api/servers/kept/stop").json["task_id"]
        assert api.wait_task(stopped)["error"]["code"] == "not_ours"
        assert api.wait_run(api.delete("kept")["run_id"], "errored")["error"]["code"] == "server_replaced"
        # What the original was making at the time, asked for again here, becomes a server of the copy's own.
        failed = next(run["id"] for run in api.get("/api/runs?state=failed")["items"] if run["error"]["code"] == "restored_copy")
        api.wait_run(api.post(f"/api/runs/{failed}/retry").json["run_id"], "applied")
        assert api.get("/api/servers/late")["vmid"] not in vms
        left = {vmid: vm for vmid, vm in original.vms().items() if vmid in vms}
        assert left == vms, "the original's servers are as they were"


def test_a_copy_that_takes_over_goes_on_with_the_same_servers(original: Stack, saved: Path) -> None:
    with restored(saved, "--take-over") as copy:
        assert installation(copy) == installation(original)
        api = copy.api()
        eventually(lambda: api.get("/api/servers/late")["status"] == "running", 60, "the run that was going on went on")
        changed = api.wait_run(api.change("kept", tags=["taken-over"])["run_id"], "applied", timeout_s=120)
        assert changed["plan"] == {"add": 0, "change": 1, "remove": 0, "import": 0}
        vm = next(vm for vm in original.vms().values() if vm["name"] == "kept")
        assert "taken-over" in vm["config"]["tags"]


def test_a_stopped_instance_is_backed_up_too_and_stays_stopped(tmp_path: Path) -> None:
    with running() as stack:
        stack.stop()
        done = run_py(stack, "backup", str(tmp_path / "stopped.backup"))
        assert done.returncode == 0, done.stderr
        assert not Path(stack.data_dir / "postgres" / "data" / "postmaster.pid").exists()


def test_a_restore_that_was_killed_leaves_no_instance_and_is_done_again(saved: Path) -> None:
    place = Stack(saved.parent / "killed", {"SIMULATOR": "off"})
    process = subprocess.Popen([sys.executable, str(ROOT / "run.py"), "restore", str(saved)], cwd=ROOT, env=place.env, start_new_session=True)
    eventually(lambda: (place.data_dir / "postgres" / "data").exists() or process.poll() is not None, 60, "the database is being made")
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    refused = run_py(place)
    assert (refused.returncode, "did not come to its end" in refused.stderr) == (2, True)
    again = run_py(place, "restore", str(saved))
    assert again.returncode == 0, again.stderr
    refused = run_py(place, "restore", str(saved))
    assert (refused.returncode, "is in use" in refused.stderr) == (2, True)


def test_a_backup_is_restored_into_a_database_that_is_configured_and_only_into_an_empty_one(original: Stack, saved: Path) -> None:
    url = json.loads((original.data_dir / "instance.json").read_text())["database_url"].replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("create database restored")
    elsewhere = url.rpartition("/")[0] + "/restored"
    first, second = (Stack(saved.parent / name, {"DATABASE_URL": elsewhere}) for name in ("first", "second"))
    done = run_py(first, "restore", str(saved))
    assert done.returncode == 0, done.stderr
    with contextlib.closing(psycopg2.connect(elsewhere)) as connection, connection.cursor() as cursor:
        cursor.execute("select (select count(*) from server), (select count(*) from setting where key = 'runs_paused'), (select count(*) from outbox)")
        assert cursor.fetchone() == (2, 1, 0)
    assert not (first.data_dir / "postgres").exists()
    again = run_py(second, "restore", str(saved))
    assert (again.returncode, "the database is not empty" in again.stderr) == (2, True)
