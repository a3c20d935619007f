"""The watcher: restarts what dies, stops in order, kills what will not end. Each runs as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.config import ROOT
from embedded.process import start_time, wait_gone

# Children write a line when they begin and when they are told to end.
PROGRAM = """
import signal, subprocess, sys
from pathlib import Path
from embedded.process import in_child
from launcher.instance import Pids
from launcher.supervisor import Child, Stopped, Supervisor
base = Path(sys.argv[1])
pids = Pids(base)
supervisor = Supervisor(pids)
pids.begin({})
CHILD = '''
import os, signal, sys
name, stubborn = sys.argv[1], sys.argv[2] == "stubborn"
say = lambda text: os.write(1, f"{text} {name}\\\\n".encode())
signal.signal(signal.SIGTERM, lambda *_: (say("told"), None if stubborn else os._exit(0)))
say("up")
while True: signal.pause()
'''
def part(name, kind="polite"):
    def spawn():
        return subprocess.Popen([sys.executable, "-S", "-c", CHILD, name, kind], start_new_session=True, preexec_fn=in_child(signal.SIGTERM))
    return Child(name, spawn, base / "log")
for spec in sys.argv[2:]:
    supervisor.start(part(*spec.split(":")))
try:
    supervisor.watch()
except Stopped:
    pass
print("clean" if supervisor.stop([("a", "b"), ("c",)]) else "killed", flush=True)
"""


@contextmanager
def watcher(directory: Path, *parts: str) -> "Iterator[subprocess.Popen[str]]":
    argv = [sys.executable, "-c", PROGRAM, str(directory), *parts]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def pid_of(directory: Path, name: str) -> int:
    return int(json.loads((directory / "pids.json").read_text())["pids"][name][0])


def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    with watcher(tmp_path, "a") as process:
        assert lines(process, 1) == ["up a"]
        first = pid_of(tmp_path, "a")
        os.kill(first, signal.SIGKILL)
        said = lines(process, 2)
        assert said[0].startswith("a ended with signal 9; starting it again in 0.5 s")
        assert said[1] == "up a"
        assert pid_of(tmp_path, "a") != first


def test_stopping_goes_in_order_and_leaves_nothing(tmp_path: Path) -> None:
    with watcher(tmp_path, "c", "a", "b") as process:
        assert sorted(lines(process, 3)) == ["up a", "up b", "up c"]
        process.send_signal(signal.SIGTERM)
        said = lines(process, 4)
        assert sorted(said[:2]) == ["told a", "told b"]
        assert said[2:] == ["told c", "clean"]
        assert process.wait(10) == 0
        assert json.loads((tmp_path / "pids.json").read_text())["pids"] == {}


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with watcher(tmp_path, "a:stubborn") as process:
        lines(process, 1)
        pid = pid_of(tmp_path, "a")
        began = start_time(pid)
        process.send_signal(signal.SIGINT)
        assert lines(process, 1) == ["told a"]
        process.send_signal(signal.SIGINT)
        assert lines(process, 3) == ["stopping at once", "a did not end by itself and is killed", "killed"]
        assert began is not None
        assert wait_gone(pid, began, 1)


def test_killing_the_watcher_ends_its_children(tmp_path: Path) -> None:
    with watcher(tmp_path, "a", "b") as process:
        lines(process, 2)
        children = [(pid, start_time(pid)) for pid in (pid_of(tmp_path, "a"), pid_of(tmp_path, "b"))]
        process.kill()
        for pid, began in children:
            assert began is not None
            assert wait_gone(pid, began, 5)
