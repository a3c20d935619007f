"""Write tests/integration/query_counts.json anew: how many statements each page sends.

    .venv/bin/python -m scripts.query_counts
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEST = "tests/integration/test_query_counts.py"


def main() -> int:
    """Run the test that knows them; its exit code."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", TEST], cwd=ROOT, env={**os.environ, "WRITE_QUERY_COUNTS": "1"}, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
