"""`make lint` and `make test`: every check in turn, and one closing line `N passed, N failed`.

    python -m scripts.check lint
    python -m scripts.check test [arguments for pytest]

A check counts as one test, so that the closing line tells of a failed one too.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import parse

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".tools"


def checks() -> list[tuple[str, Sequence[str]]]:
    """The checks by name, as arguments of this interpreter."""
    beside = Path(sys.executable).parent
    return [
        ("ruff", (str(beside / "ruff"), "check", ".")),
        ("mypy", (sys.executable, "-m", "mypy")),
        ("import-linter", (str(beside / "lint-imports"),)),
        ("templates and policy", (sys.executable, "-m", "scripts.check_templates")),
        ("translations", (sys.executable, "-m", "scripts.check_translations")),
    ]


def lint() -> tuple[int, int]:
    """Run every check; how many passed and failed."""
    passed = failed = 0
    for name, argv in checks():
        began = time.monotonic()
        code = subprocess.run(argv, cwd=ROOT, check=False).returncode
        print(f"{name}: {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - began:.1f} s)", flush=True)
        passed, failed = passed + (code == 0), failed + (code != 0)
    return passed, failed


def test(arguments: Sequence[str]) -> tuple[int, int, int]:
    """Run pytest; how many tests passed, failed and were skipped.

    Without arguments the tests of the whole product run beside all others: both wait for Terraform and Proxmox most of
    the time. What the others print comes when they are done.
    """
    REPORTS.mkdir(exist_ok=True)
    if arguments:
        # Browser tests alone wait most of the time: three instances, a file of tests for each in turn.
        alone = all(argument.startswith("tests/e2e") for argument in arguments)
        return _totals([_pytest("chosen", [*arguments, *(("-n", "3", "--dist", "loadfile") if alone else ())])])
    whole = _pytest("system", ["tests/system"])
    with tempfile.TemporaryFile() as output:
        others = _pytest("others", ["tests", "--ignore=tests/system"], output)
        whole[0].wait()
        others[0].wait()
        output.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(output, sys.stdout.buffer)
        sys.stdout.flush()
    return _totals([whole, others])


def _pytest(name: str, arguments: Sequence[str], output: IO[bytes] | None = None) -> "tuple[subprocess.Popen[bytes], Path]":
    report = REPORTS / f"pytest-{name}.xml"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", f"--junit-xml={report}", "--durations=15", *arguments]
    return subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT if output else None), report


def _totals(runs: "Sequence[tuple[subprocess.Popen[bytes], Path]]") -> tuple[int, int, int]:
    """Sum up the reports. A run that was interrupted, that left no report or collected nothing is no success."""
    passed = failed = skipped = 0
    for run, report in runs:
        code = run.wait()
        if not report.exists():
            failed += 1
            continue
        found = parse(report).getroot().iter("testsuite")  # noqa: S314 - written by pytest a moment ago
        counts = [{k: int(suite.get(k, "0")) for k in ("tests", "failures", "errors", "skipped")} for suite in found]
        bad, left_out = sum(c["failures"] + c["errors"] for c in counts), sum(c["skipped"] for c in counts)
        passed += sum(c["tests"] for c in counts) - bad - left_out
        failed += max(bad, int(code not in (0, 1)))
        skipped += left_out
    return passed, failed, skipped


def main(argv: Sequence[str]) -> int:
    """Run what is asked for; the exit code."""
    passed, failed = lint()
    skipped = 0
    if argv[:1] == ["test"]:
        more = test(argv[1:])
        passed, failed, skipped = passed + more[0], failed + more[1], more[2]
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
