"""The whole product, a Chromium, and people who are signed in. Any console error or CSP report fails its test.

BASE_URL and ADMIN_PASSWORD point the tests at an instance that runs already; otherwise one is started.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from scripts.browser import FLAGS, chromium_path
from tests.e2e.lived import furnish
from tests.e2e.pages import fresh, sign_in
from tests.site import pages
from tests.stack import Api, Stack, running

CHROMIUM = chromium_path()
# What a test provokes on purpose; everything else on the console is a fault.
EXPECTED = tuple(f"status of {status}" for status in (409, 422, 404, 403, 503, 429)) + ("ERR_INTERNET_DISCONNECTED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")

MISSING = "/no-such-page"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # They spoil the instance for everybody else.
    items.sort(key=lambda item: item.path.name == "test_hostile.py")
    if CHROMIUM or os.environ.get("REQUIRE_BROWSER") == "1":
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="there is no Chromium on PATH (set CHROMIUM, or REQUIRE_BROWSER=1 to fail)"))


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    assert CHROMIUM, "REQUIRE_BROWSER=1, but there is no Chromium: install one or set CHROMIUM"
    return {"executable_path": CHROMIUM, "args": list(FLAGS)}


class Outside:
    """An instance somebody else started."""

    def __init__(self, base: str, password: str) -> None:
        self.base, self.admin_password = base, password


@pytest.fixture(scope="session")
def stack() -> Iterator[Any]:
    if url := os.environ.get("BASE_URL"):
        yield Outside(url.rstrip("/"), os.environ["ADMIN_PASSWORD"])
        return
    # Tasks of the simulated cluster end at once: waiting for them is what other suites are for.
    with running(SIM_TIME_SCALE="0") as made:
        yield made


@pytest.fixture(scope="session")
def base_url(stack: Stack) -> str:
    return stack.base


@pytest.fixture(scope="session")
def api(stack: Stack) -> Api:
    return stack.api()


@pytest.fixture(scope="session")
def a_server(browser: Browser, api: Api) -> tuple[str, int]:
    """A server to look at, and the run that made it."""
    [name] = api.made(fresh("seen"))
    return name, int(api.get(f"/api/servers/{name}")["run_id"])


@pytest.fixture(scope="session")
def lived(stack: Stack, api: Api) -> str:
    """Something of everything there is a page for; the server that has the most."""
    return furnish(stack, api)


@pytest.fixture(scope="session")
def admin_state(browser: Browser, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sign in once; every context starts from the saved cookies."""
    return signed_in(browser, stack.base, "admin", stack.admin_password, tmp_path_factory)


@pytest.fixture(scope="session")
def developer_state(browser: Browser, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, password = stack.user("dev.one", "developer")
    return signed_in(browser, stack.base, "dev.one", password, tmp_path_factory)


@pytest.fixture(scope="session")
def paths(browser: Browser, stack: Stack, admin_state: Path, lived: str) -> list[str]:
    """Every page as a person opens it: the parts that scripts fetch are left out."""
    context = browser.new_context(base_url=stack.base, storage_state=admin_state)
    every = [at.path for at in pages(stack.sql) if at.path != "/login"]
    full = [path for path in every if context.request.get(path).text().startswith("<!doctype")]
    context.close()
    return [*full, MISSING]


def signed_in(browser: Browser, base: str, username: str, password: str, places: pytest.TempPathFactory) -> Path:
    context = browser.new_context(base_url=base)
    sign_in(context.new_page(), username, password)
    file = places.mktemp("state") / f"{username}.json"
    context.storage_state(path=file)
    context.close()
    return file


def csp_reports(stack: Stack) -> list[str]:
    """Return what browsers have reported to the web server."""
    return [line for file in (stack.data_dir / "log").glob("web.log*") for line in file.read_text(errors="replace").splitlines() if "csp_report" in line]


NewContext = Callable[..., BrowserContext]


@pytest.fixture
def open_browser(browser: Browser, base_url: str, admin_state: Path) -> Iterator[NewContext]:
    """Make a browser of one's own, signed in as the administrator unless told otherwise."""
    made: list[BrowserContext] = []
    faults: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in EXPECTED):
            faults.append(message.text)

    def make(**options: Any) -> BrowserContext:
        options = {"storage_state": admin_state, "locale": "en", "base_url": base_url, **options}
        context = browser.new_context(**options)
        context.on("console", listen)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        made.append(context)
        return context

    yield make
    for context in made:
        context.close()
    assert not faults, faults


@pytest.fixture
def page(open_browser: NewContext) -> Page:
    return open_browser().new_page()
