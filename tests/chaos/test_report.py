"""What several runs of the suite wrote adds up to one table."""

from pathlib import Path

from tests.chaos.fault import Fault, Hit, unavailable
from tests.chaos.report import Report, summed, write_round


def one(seed: int, detected: float | None, recovered: float) -> Report:
    return Report([seed], 1, [Hit("kill it", 5, 1000.0, 2.0, detected, recovered)], ["stop it"], [f"round 1: of {seed}"], 3.0)


def test_hits_idle_faults_and_violations_of_all_seeds_are_counted(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_round(tmp_path / str(seed), seed, 1, one(seed, float(seed), 10.0 * seed))
    report = summed([tmp_path / "1", tmp_path / "2"])
    assert (report.seeds, report.rounds, len(report.hits), report.idle, report.seconds) == ([1, 2], 2, 2, ["stop it", "stop it"], 6.0)
    assert report.violations == ["seed 1, round 1: of 1", "seed 2, round 1: of 2"]


def test_the_table_tells_of_hits_of_idle_faults_and_of_what_cannot_be_had() -> None:
    kill, stop, jump = (Fault(name, lambda _world: None, noticed=True) for name in ("kill it", "stop it", "jump"))
    table = Report([1, 2], 2, [*one(1, 1.0, 10.0).hits, *one(2, None, 20.0).hits], ["stop it"]).table([kill, stop, unavailable(jump, "no library")])
    rows = {line[:66].strip(): line[66:].split() for line in table.splitlines()}
    assert rows["kill it"] == ["2", "0", "1.0", "/", "1.0", "s", "10.0", "/", "20.0", "s"]
    assert rows["stop it"][:2] == ["0", "1"]
    assert rows["jump"] == ["not", "available:", "no", "library"]
    assert "noticed: p95 1.0 s (1 hits)" in table
    assert "recovered: p95 20.0 s after the fault began, 18.0 s after it was over (2 hits)" in table
