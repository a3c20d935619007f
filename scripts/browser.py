"""The Chromium that tests, pictures and figures use, and how it is started."""

import os
import shutil

# The shell is the same engine without a window's own pages: a quarter less processor for the same tests.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium_path() -> str:
    """Return the browser that CHROMIUM names, or the first on PATH; empty when there is none."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), "")
