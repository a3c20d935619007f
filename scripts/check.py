"""`make lint` and `make test`: every check in turn, and one closing line `N passed, N failed`.

    python -m scripts.check lint
    python -m scripts.check test [arguments for pytest]

A check counts as one test, so that the closing line tells of a failed one too.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import parse

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / ".tools" / "pytest.xml"


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
    """Run pytest; how many tests passed, failed and were skipped."""
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", f"--junit-xml={REPORT}", *arguments]
    code = subprocess.run(argv, cwd=ROOT, check=False).returncode
    if not REPORT.exists():
        return 0, 1, 0
    suites = list(parse(REPORT).getroot().iter("testsuite"))  # noqa: S314 - written by pytest a moment ago

    def total(name: str) -> int:
        return sum(int(suite.get(name, "0")) for suite in suites)

    failed, skipped = total("failures") + total("errors"), total("skipped")
    passed = total("tests") - failed - skipped
    # An interrupted run, or one that collected nothing, is no success.
    return passed, max(failed, int(code not in (0, 1))), skipped


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
