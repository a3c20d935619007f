"""What a stop, a kill and a start leave."""

import json
import os
import time
from pathlib import Path

from tests.simulator.conftest import Sim, refusal
from tests.stack import eventually


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_was_answered_survives_a_kill(own: Sim) -> None:
    one = own.clone(310)
    own.put(f"{one}/config", cores=4, description="kept")
    own.done(own.put(f"{one}/resize", disk="scsi0", size="+5G"))
    own.done(own.post(f"{one}/status/start"))
    two = own.clone(311)
    own.done(own.call("DELETE", f"{two}", purge=1))
    ticket = own.ticket()
    own.put(f"{one}/config", tags="last")
    before, space = own.get(f"{one}/config"), own.free("nfs")
    own.end(kill=True)
    own.start()
    assert own.get(f"{one}/config") == before
    assert "size=15G" in before["scsi0"]
    assert own.get(f"{one}/status/current")["status"] == "running"
    assert "does not exist" in refusal(own, "GET", f"{two}/config")
    assert own.free("nfs") == space
    own._ticket = ticket
    assert own.call("GET", "/version", as_root=True)


def test_work_that_a_kill_cut_off_is_undone_and_said(own: Sim) -> None:
    before = own.free("nfs")
    path = own.clone(310)
    after = own.free("nfs")
    own.control("time", scale=1, clone_seconds=60)
    half, off = own.start_clone(311), own.post(f"{path}/status/start")
    lines = eventually(lambda: [line for line in own.log(half) if "transferred" in line], 5)
    own.end(kill=True)
    own.start()
    for upid in (half, off):
        status = own.get(f"/nodes/pve1/tasks/{upid}/status")
        assert (status["status"], status["exitstatus"]) == ("stopped", "unexpected status")
    assert own.log(half)[-1] == "TASK ERROR: unexpected status"
    assert set(lines) <= set(own.log(half))
    assert "does not exist" in refusal(own, "GET", "/nodes/pve1/qemu/311/config")
    assert own.get(f"{path}/status/current")["status"] == "stopped"
    assert before > own.free("nfs") == after
    own.clone(311)
    assert own.start_clone(312) not in (half, off)


def test_a_stop_is_quick_and_keeps_everything(own: Sim) -> None:
    path = own.clone(310)
    own.control("time", clone_seconds=60)
    own.start_clone(311)
    before, secret = own.get(f"{path}/config"), own.info["token_secret"]
    began = time.monotonic()
    own.end()
    assert time.monotonic() - began < 1
    assert own.process.returncode == 0
    own.start()
    assert own.get(f"{path}/config") == before
    assert own.info["token_secret"] == secret


def test_half_a_line_and_an_old_journal_are_not_read(own: Sim) -> None:
    path = own.clone(310)
    own.end(kill=True)
    journal = next(own.folder.glob("journal-*.jsonl"))
    number = json.loads((own.folder / "state.json").read_text())["journal"]
    assert journal.name == f"journal-{number}.jsonl"
    with journal.open("a") as out:
        out.write('["vm", 310, {"name": "ha')
    (own.folder / f"journal-{number - 1}.jsonl").write_text('["vm", 101, null]\n')
    own.start()
    assert own.get(f"{path}/config")["name"] == "vm310"
    assert own.get("/nodes/pve1/qemu/101/config")["name"] == "legacy-db"
    assert len(list(own.folder.glob("journal-*.jsonl"))) == 1


def test_secrets_are_for_this_user_only_and_nothing_lies_elsewhere(own: Sim) -> None:
    secret = own.info["token_secret"]
    assert (own.folder / "token").read_text().strip() == secret
    for name in tree(own.folder) - {"fakepve.crt"}:
        assert os.stat(own.folder / name).st_mode & 0o077 == 0, name
    assert tree(own.folder.parent) == {"sim", *(f"sim/{name}" for name in tree(own.folder))}


def test_a_thousand_guests_cost_a_write_little(tmp_path: Path) -> None:
    sim = Sim(tmp_path / "sim", "--guests", "1000")
    try:
        assert len(sim.get("/cluster/resources", type="vm")) > 1000
        began = time.monotonic()
        for cores in range(1, 21):
            sim.put("/nodes/pve1/qemu/10000/config", cores=cores)
        assert (time.monotonic() - began) / 20 < 0.05
        size = next(sim.folder.glob("journal-*.jsonl")).stat().st_size
        assert size < 100_000
        sim.end(kill=True)
        sim.start()
        assert sim.get("/nodes/pve1/qemu/10000/config")["cores"] == 20
        assert len(sim.control("vms")) == 1009
    finally:
        sim.end()
