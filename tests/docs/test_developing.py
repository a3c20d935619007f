"""docs/developing.md: every example works as it stands there, and is complete by the product's own checks."""

import html
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.conftest import Run
from tests.docs.examples import blocks
from tests.stack import Api, Stack, eventually

DOCUMENT = "docs/developing.md"


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Api:
    return stack.api()


def greet(api: Api, name: str, **headers: str) -> str:
    """Ask for a greeting; returns its task's id."""
    answer = api.call("POST", "/api/greetings/async", {"name": name}, headers)
    assert answer.status == 202, answer.text
    return str(answer.json["task_id"])


def async_result(stack: Stack, task_id: str) -> list[str]:
    """Celery's state of a task and its result, as the document's own commands print them."""
    [block] = [b for b in blocks(DOCUMENT) if b.kind == "sh" and "AsyncResult" in b.text]
    done = subprocess.run(["sh", "-ec", block.text], cwd=stack.root, env={**stack.env, "TASK_ID": task_id}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(" ", 1)


def test_the_route_answers_at_once_with_success_task_id_and_message(admin: Api) -> None:
    answer = admin.post("/api/greetings/async", {"name": "Dora"})
    assert answer.status == 202 and list(answer.json) == ["success", "task_id", "message"]
    assert answer.json["success"] is True and answer.json["message"] == "Dora will be greeted."
    assert answer.headers["Location"] == f"/api/greetings/{answer.json['task_id']}"


def test_the_task_runs_in_a_worker_and_its_result_is_read_with_async_result(stack: Stack, admin: Api) -> None:
    task_id = greet(admin, "Ada")
    eventually(lambda: admin.call("GET", f"/api/greetings/{task_id}").status == 200, 30, "Ada was greeted")
    eventually(lambda: async_result(stack, task_id)[0] == "SUCCESS", 30, "the result is stored")
    assert async_result(stack, task_id) == ["SUCCESS", "{'greeted': 'Ada'}"]


def test_a_bell_that_comes_twice_greets_once(stack: Stack, admin: Api) -> None:
    task_id = greet(admin, "Bea")
    eventually(lambda: admin.call("GET", f"/api/greetings/{task_id}").status == 200, 30, "Bea was greeted")
    again = "import sys\nfrom app.services import greetings\nfrom app.services.context import application\nwith application(): greetings.execute(sys.argv[1])"
    subprocess.run([sys.executable, "-c", again, task_id], cwd=stack.root, env=stack.env, timeout=60, check=True)
    assert stack.sql(f"select action from audit_event where object_id = '{task_id}' order by id") == [("greeting.ask",), ("greeting.say",)]


def test_a_repeated_request_is_one_greeting(stack: Stack, admin: Api) -> None:
    first, again = (greet(admin, "Cleo", **{"Idempotency-Key": "cleo"}) for _ in range(2))
    assert first == again
    assert stack.sql("select count(*) from audit_event where action = 'greeting.ask' and object_name = 'Cleo'") == [(1,)]


def test_what_is_wrong_with_a_request_is_said_by_field_and_permission(stack: Stack, admin: Api) -> None:
    assert admin.post("/api/greetings/async", {"name": ""}).codes.keys() == {"name"}
    assert admin.call("GET", "/api/greetings/00000000-0000-4000-8000-000000000000").status == 404
    viewer, _ = stack.user("victor", "viewer")
    assert viewer.post("/api/greetings/async", {"name": "Dora"}).status == 403
    assert Api(stack.base, "tpm_nobodys").post("/api/greetings/async", {"name": "Dora"}).status == 401


def test_the_page_shows_it_in_both_languages_and_its_part_alone(stack: Stack, admin: Api) -> None:
    task_id = greet(admin, "Eve")
    eventually(lambda: admin.call("GET", f"/api/greetings/{task_id}").status == 200, 30, "Eve was greeted")
    page = admin.call("GET", "/greetings", headers={"Accept": "text/html"})
    assert page.status == 200 and "<h1>Greetings</h1>" in page.text and "Eve was greeted" in page.text
    part = admin.call("GET", "/greetings", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section class="card" id="greetings"') and "<h1>" not in part.text
    assert "Eve 님에게 인사했습니다" in admin.call("GET", "/greetings", headers={"Accept-Language": "ko", "Accept": "text/html"}).text
    assert Api(stack.base, "tpm_nobodys").call("GET", "/greetings", headers={"Accept": "application/json"}).status == 401


def test_browsers_hear_of_a_greeting(stack: Stack, admin: Api) -> None:
    task_id = greet(admin, "Fay")
    code = "import sys, json\nfrom app.streaming import events\nprint(json.dumps([f['d'] for _, f in events.client().xrange(events.STREAM) if f['e'] == 'greeting']))"

    def told() -> bool:
        shown = subprocess.run([sys.executable, "-c", code], cwd=stack.root, env=stack.env, capture_output=True, text=True, timeout=60, check=True)
        return any(task_id in data for data in json.loads(shown.stdout))

    eventually(told, 30, "the event is in the stream")
    assert "greeting" in admin.call("GET", "/greetings", headers={"Accept": "text/html"}).text.partition("data-stream=")[2].partition(">")[0]


def test_the_failure_is_recognised_through_terraform_and_its_card_says_what_to_do(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=2)
    body = admin.create("read-only")
    vmid = admin.get("/api/servers/read-only")["vmid"]
    stack.control("task_fails", type="qmclone", vmid=vmid, message="clone failed: unable to write to storage 'shared': Read-only file system")
    run = admin.wait_run(body["run_id"], "errored", timeout_s=120)
    assert (run["error"]["code"], run["error"]["remedy"]) == ("storage_read_only", "other_storage")
    page = html.unescape(admin.call("GET", f"/runs/{body['run_id']}/head").text)
    card = page[page.index('<section class="fail card"') :]
    assert "The storage shared can be read but not written." in card
    assert "Look at the storage's log on the node, or choose another storage." in card and "Choose another storage" in card
    korean = html.unescape(admin.call("GET", f"/runs/{body['run_id']}/head", headers={"Accept-Language": "ko"}).text)
    assert "스토리지 shared은(는) 읽을 수만 있고 쓸 수 없습니다." in korean


def test_the_examples_pass_the_checks(run: Run) -> None:
    run("-m", "ruff", "check", "--no-cache", ".")
    run("-m", "scripts.check_templates")
    run("-m", "scripts.check_translations")
    run("-c", "import sys; from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])")


def test_the_examples_are_typed(product: Path, run: Run) -> None:
    files = [b.place for b in blocks(DOCUMENT) if b.kind == "python" and b.place.startswith("app/")]
    assert len(files) == 5
    run("-m", "mypy", "--cache-dir", str(product / ".mypy_cache"), *files)


def test_the_registries_of_tests_know_the_examples(run: Run) -> None:
    """Nothing else has to be written down for the route, the page and the failure than the document says."""
    walk = "tests/integration/test_audit_walk.py"
    run("-m", "pytest", "-q", "-x", "tests/unit/test_failures.py", "tests/unit/test_messages.py", f"{walk}::test_every_writing_route_has_an_example_or_a_reason",
        f"{walk}::test_a_writing_route_leaves_its_row_in_the_audit_list[api_greetings.create]", "tests/integration/test_access.py")  # fmt: skip


def test_the_simulated_cluster_brings_the_failure_about(run: Run) -> None:
    """The row of the document in the test that has the real provider and the real Terraform word each failure."""
    where = "tests/simulator/test_failures.py"
    run("-m", "pytest", "-q", "-x", f"{where}::test_a_server_that_cannot_be_made_is_explained[0-storage_read_only]", f"{where}::test_what_is_not_produced_here_is_named")


def test_what_is_written_by_commands_has_the_examples_in_it(product: Path) -> None:
    assert json.loads((product / "tests/integration/query_counts.json").read_text("utf-8"))["/greetings"] < 8
    assert "| `storage_read_only` |" in (product / "docs/failures.md").read_text("utf-8")
