"""An instance with ten thousand servers, and a Chromium in which the administrator is signed in."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from scripts.browser import FLAGS
from scripts.screenshots import chromium
from tests.bench.product import Product, product
from tests.stack import Stack

SERVERS = 10_000
_STATUS = "(array['running','running','running','running','running','running','running','stopped','stopped','unknown'])[1 + n % 10]"
_FILL = """
insert into workspace (name, project_id, cluster_id, state_ever)
select 'bench-' || n, (select min(id) from project), (select min(id) from cluster), true from generate_series({first}, {last}) n;
insert into server (slug, name, workspace_id, cluster_id, owner_id, template_name, marker, vmid, node_name, status, cores, memory_mib, disks, nics,
                    username, ssh_keys, tags, ip_addresses, cpu_percent, memory_percent, in_state, description, agent, start_on_create, uptime_s)
select 'bench-' || n, 'bench-' || lpad(n::text, 5, '0'), w.id, w.cluster_id, (select min(id) from "user"), 'debian-12', 'tpm', 100000 + n, 'pve' || (1 + n % 3),
       {status}, 1 + n % 8, 1024 * (1 + n % 8), '[{{"interface": "scsi0", "storage": "local-lvm", "size_gib": 20}}]', '[]', 'ubuntu', '[]',
       jsonb_build_array('team-' || n % 20, 'prod'), jsonb_build_array('10.' || n / 65536 || '.' || (n / 256) % 256 || '.' || n % 256), n % 100, (n * 7) % 100,
       true, '', false, true, 3600
from generate_series({first}, {last}) n join workspace w on w.name = 'bench-' || n;
analyze server; analyze workspace;
"""


@dataclass
class Crowded:
    """The instance, a browser, and a browser's cookies."""

    product: Product
    browser: Browser
    state: dict[str, object]

    def context(self) -> BrowserContext:
        """Open a window of the administrator's."""
        return self.browser.new_context(base_url=self.product.api.base, storage_state=self.state, viewport={"width": 1440, "height": 900}, locale="en")  # type: ignore[arg-type]

    def seconds(self, path: str, times: int) -> list[float]:
        """Ask for a page so often, on one connection, as a browser does; what each answer took."""
        cookies = "; ".join(f"{c['name']}={c['value']}" for c in self.state["cookies"])  # type: ignore[attr-defined]
        parts = urlsplit(self.product.api.base)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        out = []
        for _ in range(times):
            began = time.perf_counter()
            connection.request("GET", path, headers={"Cookie": cookies, "Accept": "text/html", "Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answer.read()
            out.append(time.perf_counter() - began)
            if answer.status != 200:
                raise RuntimeError(f"{path} answers {answer.status}")
        connection.close()
        return out

    def fill(self, first: int, last: int) -> None:
        """Write servers of these numbers straight into the database."""
        fill(self.product.stack, first, last)


def fill(stack: Stack, first: int, last: int) -> None:
    """Write servers of these numbers straight into an instance's database."""
    stack.sql_write(_FILL.format(first=first, last=last, status=_STATUS))


@contextmanager
def crowded(place: Path) -> Iterator[Crowded]:
    """Start one, without servers yet."""
    with product(place) as one, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            context = browser.new_context(base_url=one.api.base)
            page = context.new_page()
            page.goto("/login")
            page.get_by_label("Username").fill("admin")
            page.get_by_label("Password").fill(one.stack.admin_password)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/")
            state = context.storage_state()
            context.close()
            yield Crowded(one, browser, dict(state))
        finally:
            browser.close()
