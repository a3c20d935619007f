"""Pictures of the pages: an instance of its own is started, filled, driven in a Chromium and thrown away.

    python -m scripts.screenshots [FOLDER]     # default: docs/screenshots

CHROMIUM names the browser; otherwise one is looked for on PATH.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from scripts.browser import FLAGS, chromium_path
from tests.stack import ROOT, Api, Stack, eventually, running

FOLDER = ROOT / "docs" / "screenshots"
DESK, PHONE = (1440, 900), (390, 844)
LARGEST_BYTES = 250_000
WAIT_MS = 60_000
# Slow enough that a run is seen at work, some of its servers done and others being made.
LIVE_PACE = {"clone_seconds": 12, "scale": 0.3}
LIVE_AT_ONCE = 3


@dataclass(frozen=True)
class Shot:
    """One picture: a page in one look."""

    name: str
    path: str
    theme: Literal["light", "dark"] = "light"
    language: Literal["en", "ko"] = "en"
    size: tuple[int, int] = DESK


@dataclass(frozen=True)
class Scene:
    """What was made, to point the pictures at."""

    failed: int
    waiting: int


def chromium() -> str:
    """Return the browser. Raises SystemExit with the way out."""
    path = chromium_path()
    if not path:
        sys.exit("There is no Chromium on PATH: install one (Debian: apt-get install chromium fonts-noto-cjk) or set CHROMIUM.")
    return path


# ---------------------------------------------------------------- the instance
def fill(stack: Stack) -> Scene:
    """Make servers of several people, a run that fails and a plan that waits."""
    web, data, ci = (stack.user(name, role)[0] for name, role in (("web-team", "operator"), ("data-team", "developer"), ("ci-team", "developer")))
    begun = [
        (web, web.create("web-prod", count=4, preset="medium", tags=["web", "prod"], description="Shop front, behind the balancer")),
        (web, web.create("api-prod", "debian-12", count=3, preset="medium", tags=["api", "prod"])),
        (data, data.create("db-prod-1", "debian-12", preset="large", tags=["db", "prod"], description="Orders. Backups at 02:00")),
        (data, data.create("db-prod-2", "debian-12", preset="large", tags=["db", "prod"])),
        (ci, ci.create("ci-worker", count=2, preset="xlarge", tags=["ci"])),
        (ci, ci.create("staging-1", "rocky-9", preset="small", tags=["staging"])),
        (web, web.create("mail-relay", "debian-12", preset="small", tags=["mail"])),
    ]
    for who, body in begun:
        who.wait_run(body["run_id"], "applied", timeout_s=180)
    for who, name in ((ci, "ci-worker-2"), (ci, "staging-1")):
        who.wait_task(who.post(f"/api/servers/{name}/shutdown").json["task_id"])
    failed = _failed(stack, web)
    waiting = int(data.change("db-prod-2", cores=8, memory_mib=16384, tags=["db", "prod", "reporting"], apply="confirm")["run_id"])
    data.wait_run(waiting, "planned")
    return Scene(failed, waiting)


def _failed(stack: Stack, who: Api) -> int:
    """The storage fills up between plan and apply: the run's number."""
    run = int(who.create("report-1", preset="large", tags=["report"], apply="confirm")["run_id"])
    who.wait_run(run, "planned")
    stack.control("fill", storage=who.get("/api/servers/report-1")["disks"][0]["storage"], gib=1_000_000)
    who.post(f"/api/runs/{run}/apply")
    who.wait_run(run, "errored")
    stack.control("reset")
    return run


def begin_live_run(stack: Stack, who: Api) -> int:
    """Begin a batch, and return its number when the first servers are made and others are being made."""
    stack.control("time", **LIVE_PACE)
    run = int(who.create("queue", count=6, preset="medium", tags=["queue", "prod"])["run_id"])

    def half_done() -> bool:
        progress: dict[str, Any] = who.run(run)["progress"]
        return bool(0 < progress["done"] < progress["total"])

    eventually(half_done, 120, "some of the servers are made")
    return run


# ---------------------------------------------------------------- the browser
class Camera:
    """A browser in which the administrator is signed in."""

    def __init__(self, browser: Browser, stack: Stack, folder: Path) -> None:
        self._browser, self._base, self._folder = browser, stack.base, folder
        context = browser.new_context(base_url=self._base, locale="en")
        page = context.new_page()
        page.goto("/login")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(stack.admin_password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        self._state = context.storage_state()
        context.close()

    @contextmanager
    def page(self, shot: Shot) -> Iterator[Page]:
        """Open the page of a picture, live."""
        width, height = shot.size
        context = self._browser.new_context(
            base_url=self._base, storage_state=self._state, viewport={"width": width, "height": height}, locale=shot.language,
            reduced_motion="reduce",
        )  # fmt: skip
        context.add_cookies([{"name": name, "value": value, "url": self._base} for name, value in (("theme", shot.theme), ("language", shot.language))])
        page = context.new_page()
        page.goto(shot.path)
        page.locator("#live[data-s=live]").wait_for()
        page.evaluate("document.fonts.ready")
        try:
            yield page
        finally:
            context.close()

    def take(self, shot: Shot, page: Page) -> None:
        """Write the picture."""
        file = self._folder / f"{shot.name}.png"
        page.screenshot(path=file)
        size = file.stat().st_size
        print(f"  {file.name}  {size // 1000} kB{'  LARGE' if size > LARGEST_BYTES else ''}", flush=True)

    def shoot(self, *shots: Shot) -> None:
        """Take pages as they are."""
        for shot in shots:
            with self.page(shot) as page:
                self.take(shot, page)


def _create_form(page: Page) -> None:
    """A form filled in, with a fault that is told while typing."""
    page.locator("label.pick", has_text="ubuntu-24.04").click()
    page.locator("label.pick", has_text="medium").click()
    page.get_by_label("How many").fill("3")
    page.get_by_label("Name", exact=True).fill("Web_shop")
    page.locator("#msg-name.err").wait_for()
    page.evaluate("scrollTo(0, 0)")


def _limit_parallelism(camera: Camera) -> None:
    """Have a run make a few servers at a time, as an administrator would."""
    with camera.page(Shot("settings", "/admin/settings")) as page:
        page.get_by_label("Servers of one run at once").fill(str(LIVE_AT_ONCE))
        page.get_by_role("button", name="Save settings").click()
        page.locator(".toast-x").wait_for()


def photograph(camera: Camera, stack: Stack, scene: Scene) -> None:
    """Take every picture; those of the live run last, for it changes the lists."""
    camera.shoot(
        Shot("servers-light", "/servers"),
        Shot("servers-ko", "/servers", language="ko"),
        Shot("servers-dark", "/servers", "dark"),
        Shot("server-light", "/servers/web-prod-1"),
        Shot("run-failed-light", f"/runs/{scene.failed}"),
        Shot("run-confirm-light", f"/runs/{scene.waiting}"),
        Shot("nodes-dark", "/nodes", "dark"),
        Shot("networks-light", "/networks"),
        Shot("templates-light", "/templates"),
        Shot("phone-servers", "/servers", size=PHONE),
        Shot("phone-servers-ko", "/servers", "dark", "ko", PHONE),
        Shot("phone-run", f"/runs/{scene.waiting}", size=PHONE),
        Shot("phone-create", "/servers/new", size=PHONE),
    )
    create = Shot("create-light", "/servers/new")
    with camera.page(create) as page:
        _create_form(page)
        camera.take(create, page)
    _limit_parallelism(camera)
    run = begin_live_run(stack, stack.api("web-team"))
    live = Shot("run-dark", f"/runs/{run}", "dark")
    with camera.page(live) as page:
        expect(page.locator("#log-v .l").last).to_be_visible(timeout=WAIT_MS)
        camera.take(live, page)
    camera.shoot(Shot("dashboard-dark", "/", "dark"), Shot("phone-dashboard", "/", "dark", size=PHONE))


def main(argv: list[str]) -> int:
    """Take every picture into a folder."""
    folder = Path(argv[0]) if argv else FOLDER
    browser_path = chromium()
    folder.mkdir(parents=True, exist_ok=True)
    with running(SIM_TIME_SCALE="0.02") as stack, sync_playwright() as playwright:
        print("making servers …", flush=True)
        scene = fill(stack)
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        try:
            photograph(Camera(browser, stack, folder), stack, scene)
        finally:
            browser.close()
    print(f"pictures are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
