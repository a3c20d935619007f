"""A simulator of its own for these tests: it is stopped, killed and started again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import requests

from tests.stack import eventually, free_port

ROOT = Path(__file__).resolve().parents[2]
SCALE = 0.02
FIRST_OURS, LAST_OURS = 300, 999


class Refused(Exception):
    """What the API answered instead of 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


class Sim:
    """A simulator's process, a client with the token or as root, and its control port."""

    def __init__(self, folder: Path, *args: str, scale: float = SCALE) -> None:
        self.folder, self.args = folder, args
        self.ports, self.scale = (free_port(), free_port()), scale
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-m", "simulator", "--dir", str(self.folder), "--port", str(self.ports[0])]
        argv += ["--control-port", str(self.ports[1]), "--time-scale", str(self.scale), *self.args]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("ready https://")
        self.info: dict[str, Any] = json.loads((self.folder / "connection.json").read_text())
        self.http = requests.Session()
        self.http.verify = self.info["ca"]
        self.http.trust_env = False
        self._ticket: dict[str, str] = {}

    def end(self, kill: bool = False) -> None:
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.http.close()

    def call(self, method: str, path: str, as_root: bool = False, **data: Any) -> Any:
        """Call the API with the token, or as root@pam; raises Refused."""
        given = {"params" if method == "GET" else "data": data}
        secret = f"PVEAPIToken={self.info['token_id']}={self.info['token_secret']}"
        headers, cookies = {"Authorization": secret}, {}
        if as_root:
            ticket = self.ticket()
            headers = {"CSRFPreventionToken": ticket["CSRFPreventionToken"]}
            cookies = {"PVEAuthCookie": ticket["ticket"]}
        url = f"{self.info['url']}/api2/json{path}"
        answer = self.http.request(method, url, headers=headers, cookies=cookies, timeout=10, **given)
        if not answer.ok:
            raise Refused(answer.status_code, f"{answer.reason} {answer.text}")
        return answer.json()["data"]

    def ticket(self) -> dict[str, str]:
        if not self._ticket:
            form = {"username": self.info["user"], "password": self.info["password"]}
            self._ticket = self.http.post(f"{self.info['url']}/api2/json/access/ticket", form, timeout=10).json()[
                "data"
            ]
        return self._ticket

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def post(self, path: str, **data: Any) -> Any:
        return self.call("POST", path, **data)

    def put(self, path: str, **data: Any) -> Any:
        return self.call("PUT", path, **data)

    def control(self, op: str, **body: Any) -> Any:
        request = Request(f"{self.info['control']}/{op}", json.dumps(body).encode(), method="POST")
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def ended(self, upid: str) -> str:
        """Wait for a task and return its exit status."""
        path = f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status"
        status = eventually(lambda: (now := self.get(path))["status"] == "stopped" and now, 10, upid)
        return str(status["exitstatus"])

    def done(self, upid: str) -> None:
        assert self.ended(upid) == "OK", self.log(upid)

    def log(self, upid: str) -> list[str]:
        return [row["t"] for row in self.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", limit=500)]

    def start_clone(self, newid: int, template: int = 9000, node: str = "pve1", **more: Any) -> str:
        data = {"newid": newid, "full": 1, "name": f"vm{newid}", "pool": "servers", **more}
        return str(self.post(f"/nodes/{node}/qemu/{template}/clone", **data))

    def clone(self, newid: int, **more: Any) -> str:
        """Clone the Ubuntu template at once; returns the path of the guest."""
        self.control("time", clone_seconds=0)
        self.done(self.start_clone(newid, **more))
        self.control("time", clone_seconds=None)
        return f"/nodes/{more.get('target', 'pve1')}/qemu/{newid}"

    def free(self, storage: str, node: str = "pve1") -> int:
        return int(self.get(f"/nodes/{node}/storage/{storage}/status")["avail"])


@pytest.fixture(scope="module")
def sim_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    sim = Sim(tmp_path_factory.mktemp("sim"))
    yield sim
    sim.end()


@pytest.fixture
def sim(sim_process: Sim) -> Iterator[Sim]:
    """The demo cluster without faults; guests that a test makes go after it."""
    yield sim_process
    sim_process.control("reset")
    for vm in sim_process.control("vms"):
        if FIRST_OURS <= vm["vmid"] <= LAST_OURS:
            sim_process.control("delete", vmid=vm["vmid"])


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sim]:
    """A simulator that the test may stop and start."""
    sim = Sim(tmp_path / "sim")
    yield sim
    if sim.process.poll() is None:
        sim.end()


def refusal(sim: Sim, method: str, path: str, **data: Any) -> str:
    """Return the error that a call ends in."""
    with pytest.raises(Refused) as error:
        sim.call(method, path, **data)
    return str(error.value)
