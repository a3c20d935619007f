"""Check templates and scripts against the Content-Security-Policy and our habits; exit 1 with file:line for every fault.

No inline script or style, no `on…=`, no `style=`, no `|safe`; every icon exists; every form that posts has its token.
Scripts put text into a page as text and make no code of it; the policy itself allows nothing inline and nobody else's.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from app.web import CSP

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "app" / "templates"
ICONS = ROOT / "node_modules" / "@tabler" / "icons" / "icons" / "outline"
COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
RULES = (
    (re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE), "inline script"),
    (re.compile(r"<style\b", re.IGNORECASE), "inline style sheet"),
    (re.compile(r"<[^>{]*\sstyle\s*=", re.IGNORECASE), "style attribute"),
    (re.compile(r"<[^>{]*\son[a-z]+\s*=", re.IGNORECASE), "event handler attribute"),
    (re.compile(r"\bhx-on\b|\bjs:|javascript:", re.IGNORECASE), "script in an attribute"),
    (re.compile(r"\|\s*safe\b"), "|safe"),
    (re.compile(r"autoescape\s+false", re.IGNORECASE), "autoescape switched off"),
    (re.compile(r"\bMarkup\("), "Markup in a template"),
)
SCRIPTS = ROOT / "app" / "assets" / "js"
SCRIPT_RULES = (
    (re.compile(r"\.(?:inner|outer)HTML\s*=(?!=)|\binsertAdjacentHTML\b|\bdocument\.write\b|\bcreateContextualFragment\b"), "markup made from text"),
    (re.compile(r"\beval\s*\(|\bnew\s+Function\b|\bset(?:Timeout|Interval)\s*\(\s*['\"`]"), "code made from text"),
    (re.compile(r"setAttribute\(\s*['\"](?:style|on\w+)['\"]"), "an attribute that the policy blocks"),
)
POLICY_NEEDS = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
POLICY_NEVER = ("unsafe-", "*", "http:", "https:", "blob:")
ICON = re.compile(r"\bicon\(\s*'([^']+)'")
FORM = re.compile(r"<form\b[^>]*\bmethod=\"post\"[^>]*>.*?</form>", re.DOTALL | re.IGNORECASE)


def faults(text: str, icons: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong)."""
    # Comments go, their line breaks stay: line numbers must hold.
    bare = COMMENT.sub(lambda m: "\n" * m[0].count("\n"), text)
    for pattern, what in RULES:
        for match in pattern.finditer(bare):
            yield line_of(bare, match.start()), what
    for match in ICON.finditer(bare):
        if icons and match[1] not in icons:
            yield line_of(bare, match.start()), f"there is no icon {match[1]!r}"
    for match in FORM.finditer(text):
        if "csrf" not in match[0]:
            yield line_of(text, match.start()), "a form that posts without a token"


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def script_faults(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) of a script."""
    for pattern, what in SCRIPT_RULES:
        for match in pattern.finditer(text):
            yield line_of(text, match.start()), what


def policy_faults(policy: str) -> Iterator[str]:
    """Yield what the policy lacks or allows too much."""
    parts = [part.strip() for part in policy.split(";")]
    yield from (f"the policy lacks {need}" for need in POLICY_NEEDS if need not in parts)
    yield from (f"the policy allows {never}" for never in POLICY_NEVER if never in policy)


def main() -> int:
    icons = frozenset(path.stem for path in ICONS.glob("*.svg")) if ICONS.is_dir() else frozenset()
    found = [
        (path.relative_to(ROOT), line, what)
        for path in sorted(TEMPLATES.rglob("*.html"))
        for line, what in faults(path.read_text(encoding="utf-8"), icons)
    ]
    found += [
        (path.relative_to(ROOT), line, what)
        for path in sorted(SCRIPTS.rglob("*.js"))
        for line, what in script_faults(path.read_text(encoding="utf-8"))
    ]
    found += [(Path("app/web.py"), 0, what) for what in policy_faults(CSP)]
    for path, line, what in found:
        print(f"{path}:{line}: {what}")
    if not icons:
        print("icons were not checked: node_modules is missing", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
