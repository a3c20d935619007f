"""Moving over as a person does it: both scripts beside a running instance."""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.older import typical
from tests.stack import ROOT, Stack, running


def script(stack: Stack, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(ROOT / "scripts" / name), *arguments], cwd=stack.data_dir, env=stack.env, capture_output=True, text=True, timeout=120)


def test_both_scripts_work_on_the_database_of_the_running_instance_and_say_when_it_is_stopped(tmp_path: Path) -> None:
    with running() as stack:
        read = script(stack, "migrate_sqlite_to_postgres.py", str(typical(tmp_path / "old.db")), str(tmp_path / "moving"))
        assert read.returncode == 0, read.stderr
        assert "Load it into the database postgres at 127.0.0.1" in read.stdout
        loaded = script(stack, "restore_postgres_data.py", str(tmp_path / "moving"))
        assert loaded.returncode == 0, loaded.stderr
        assert "users 1 (admin): was there already and is kept as it is" in loaded.stdout
        assert script(stack, "restore_postgres_data.py", str(tmp_path / "moving"), "--verify").returncode == 0
        assert "서버 생성: web is there\ntook 40 s" in [item["text"] for item in stack.api("dana").get("/api/notifications")["items"]]
        assert "scrypt" not in read.stdout + read.stderr + loaded.stdout + loaded.stderr
        stack.stop()
        refused = script(stack, "restore_postgres_data.py", str(tmp_path / "moving"))
        assert (refused.returncode, "is the instance running?" in refused.stderr) == (1, True)
