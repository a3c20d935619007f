"""Pictures of every page in every state, theme, language and width, for people to look through.

    python -m scripts.matrix [--to FOLDER] [--states empty,filled,…]     # default: all, into pictures

FOLDER/STATE/WIDTH-THEME-LANGUAGE/PAGE.png. States: `empty` (nothing was made yet), `filled` (something of everything),
`failed` (the cluster answers no more), `forbidden` (somebody who may not see it), `huge` (10,000 servers, long names).
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

import tests.conftest  # noqa: F401 - the environment that the application's address map is made in
from scripts.browser import FLAGS
from scripts.screenshots import chromium
from tests.bench.crowded import SERVERS, fill
from tests.e2e.lived import furnish
from tests.site import pages
from tests.stack import ROOT, Stack, eventually, running

FOLDER = ROOT / "pictures"  # not below test-results, which every test run empties
LOOKS = [(width, theme, language) for width in (390, 1440) for theme in ("light", "dark") for language in ("en", "ko")] + [(3840, "light", "en")]
LONG = "a-name-that-goes-on-for-as-long-as-any-name-may-go-on-in-proxmox"[:63]


@dataclass(frozen=True)
class State:
    """What an instance is made to be, and who looks at it."""

    prepare: Callable[[Stack], None]
    role: str = "administrator"


def _empty(_stack: Stack) -> None:
    """As it is after the first start."""


def _filled(stack: Stack) -> None:
    furnish(stack, stack.api())


def _failed(stack: Stack) -> None:
    _filled(stack)
    stack.control("down", seconds=3600)
    eventually(lambda: stack.sql("select 1 from cluster where status <> 'online'"), 90, "the cluster's absence is noticed")


def _huge(stack: Stack) -> None:
    _filled(stack)
    fill(stack, 1, SERVERS)
    stack.sql_write(f"update server set name = '{LONG[:57]}-' || id, description = repeat('Words without an end. ', 150) where name like 'bench-%' and id % 9 = 0")  # noqa: S608 - a text of ours


STATES = {"empty": State(_empty), "filled": State(_filled), "failed": State(_failed), "forbidden": State(_filled, "viewer"), "huge": State(_huge)}


def _paths(stack: Stack) -> list[tuple[str, str]]:
    """Return every page as (name of its file, address); those that need a row which is not there are left out."""
    found = [(page.rule, page.path) for page in pages(stack.sql, missing=True)]
    named = [(re.sub(r"[^a-z0-9]+", "-", re.sub(r"<[^>]*:|[<>]", "", rule)).strip("-") or "dashboard", path) for rule, path in found]
    return [*((name, path) for name, path in named if name != "login"), ("not-found", "/no-such-page")]


@contextmanager
def _signed_in(browser: Browser, stack: Stack, role: str) -> Iterator[Any]:
    username, password = ("admin", stack.admin_password) if role == "administrator" else ("onlooker", stack.user("onlooker", role)[1])
    context = browser.new_context(base_url=stack.base, locale="en")
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    yield context.storage_state()
    context.close()


# Fonts are there, and nothing was asked of the server for a moment: charts and what Proxmox answers are there too.
_SETTLED = """async () => {
  await document.fonts.ready;
  for (let before = -1; before !== performance.getEntriesByType('resource').length;) {
    before = performance.getEntriesByType('resource').length;
    await new Promise(done => setTimeout(done, 150));
  }
}"""


def _shoot(page: Page, path: str, file: Path) -> None:
    """Take the picture of a page, of an address when given; of a phone all that can be scrolled to."""
    if path:
        page.goto(path)
    page.evaluate(_SETTLED)
    page.screenshot(path=file, full_page=(page.viewport_size or {"width": 0})["width"] < 1000)


def photograph(browser: Browser, stack: Stack, state: str, folder: Path) -> int:
    """Take every picture of a state; returns how many."""
    taken = 0
    with _signed_in(browser, stack, STATES[state].role) as cookies:
        paths = _paths(stack)
        for width, theme, language in LOOKS:
            place = folder / state / f"{width}-{theme}-{language}"
            place.mkdir(parents=True, exist_ok=True)
            context = browser.new_context(
                base_url=stack.base, storage_state=cookies, viewport={"width": width, "height": 844 if width < 1000 else width * 9 // 16},
                locale=language, reduced_motion="reduce",
            )  # fmt: skip
            context.add_cookies([{"name": name, "value": value, "url": stack.base} for name, value in (("theme", theme), ("tpm_language", language))])
            page, stranger = context.new_page(), browser.new_context(
                base_url=stack.base, viewport={"width": width, "height": 844}, color_scheme=theme, locale=language,  # type: ignore[arg-type]  # one of both
            ).new_page()  # fmt: skip
            _shoot(stranger, "/login", place / "login.png")
            stranger.context.close()
            for name, path in paths:
                answer = page.goto(path)
                if answer is None or not answer.text().startswith("<!doctype"):
                    continue  # a part that a script fetches
                _shoot(page, "", place / f"{name}.png")
                taken += 1
            context.close()
            print(f"  {place.relative_to(folder)}: {len(list(place.glob('*.png')))}", flush=True)
    return taken


def main(argv: Sequence[str]) -> int:
    """Take them; each state has an instance of its own."""
    parser = argparse.ArgumentParser(prog="python -m scripts.matrix", description="Every page, state, theme, language and width.")
    parser.add_argument("--to", type=Path, default=FOLDER)
    parser.add_argument("--states", default=",".join(STATES))
    given = parser.parse_args(argv)
    taken = 0
    for state in given.states.split(","):
        print(state, flush=True)
        with running(SIM_TIME_SCALE="0") as stack, sync_playwright() as playwright:
            STATES[state].prepare(stack)
            browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            try:
                taken += photograph(browser, stack, state, given.to)
            finally:
                browser.close()
    print(f"{taken} pictures are in {given.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
