"""A worker's machine is shut down, or everything on it dies together: its runs go on elsewhere, and nothing is made twice."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import ROOT, Api, Stack, alive, children, eventually


@contextlib.contextmanager
def halted(stack: Stack) -> Iterator[None]:
    """The instance's own worker takes nothing meanwhile."""
    worker = stack.info["pids"]["worker"]
    pids = [worker, *children(worker)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def container(stack: Stack, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker as PID 1 of a PID namespace, where everything dies with it, as in a container; yields its parent."""
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "run.py", "worker", "-Q", "terraform"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, cwd=ROOT, env=stack.env | {"TERRAFORM_WORKERS": "2"}, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def able() -> bool:
    return shutil.which("unshare") is not None and subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not able(), reason="a PID namespace needs root and unshare")


def begun(stack: Stack, api: Api, name: str, count: int) -> int:
    stack.control("time", clone_seconds=4)
    run_id: int = api.create(name, count=count)["run_id"]
    eventually(lambda: any(vm["lock"] == "clone" for vm in stack.vms().values()), 90, "a clone has begun")
    return run_id


@needs_namespaces
def test_a_container_that_is_stopped_finishes_what_it_began_and_another_worker_goes_on(stack: Stack, admin: Api, tmp_path: Path) -> None:
    with halted(stack), container(stack, tmp_path / "worker.log") as process:
        run_id = begun(stack, admin, "shipped", 14)
        [first] = children(process.pid)
        os.kill(first, signal.SIGTERM)
        process.wait(90)
        assert "left" in [e["name"] for e in admin.run(run_id)["events"]]
        whole = {name for name, vm in ((vm["name"], vm) for vm in stack.vms().values()) if name.startswith("shipped-")}
        assert 0 < len(whole) < 14, "no other was begun"
        assert not [vm for vm in stack.vms().values() if vm["lock"]], "nothing is half made"
    run = admin.wait_run(run_id, "applied", timeout_s=120)
    made = [vmid for vmid, vm in stack.vms().items() if vm["name"].startswith("shipped-")]
    assert len(made) == 14
    deleted = [path for method, path, _ in stack.control("requests") if method == "DELETE"]
    assert not [path for path in deleted if path.rstrip("/").rpartition("/")[2] in map(str, made)]
    assert "killed_hung_runner" not in [e["name"] for e in run["events"]]
    assert stack.sql(f"select resumes from run where id = {run_id}") == [(0,)], "a shutdown is no failure"


@needs_namespaces
def test_a_run_that_is_complete_when_its_container_is_stopped_is_applied(stack: Stack, admin: Api, tmp_path: Path) -> None:
    with halted(stack), container(stack, tmp_path / "worker.log") as process:
        run_id = begun(stack, admin, "lastly", 2)
        [first] = children(process.pid)
        os.kill(first, signal.SIGTERM)
        process.wait(90)
        assert admin.run(run_id)["state"] == "applied"


@needs_namespaces
def test_a_container_that_is_killed_with_everything_in_it_is_taken_over(stack: Stack, admin: Api, tmp_path: Path) -> None:
    with halted(stack), container(stack, tmp_path / "worker.log") as process:
        run_id = begun(stack, admin, "sunk", 14)
        [first] = children(process.pid)
        os.kill(first, signal.SIGKILL)
        process.wait(30)
    admin.wait_run(run_id, "applied", timeout_s=120)
    assert sorted(vm["status"] for vm in stack.vms().values() if vm["name"].startswith("sunk-")) == ["running"] * 14


def test_a_worker_that_is_told_to_stop_leaves_its_runner_to_itself(stack: Stack, admin: Api) -> None:
    run_id = begun(stack, admin, "unmoved", 3)
    runner, worker = stack.runner_pid(run_id), stack.info["pids"]["worker"]
    os.kill(worker, signal.SIGTERM)
    eventually(lambda: not alive(worker), 15, "the worker leaves")
    assert alive(runner)
    run = admin.wait_run(run_id, "applied")
    assert {"left", "runner_lost"}.isdisjoint(e["name"] for e in run["events"])
