"""The same product on both brokers: nothing that was asked for is lost when the broker dies in the middle."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from tests.bench.crowded import fill
from tests.brokers.conftest import On
from tests.stack import eventually

ENQUEUED = 500


def test_a_server_is_made_and_switched_off(on: On) -> None:
    api = on.stack.api()
    [name] = api.made("carried")
    task = api.wait_task(api.post(f"/api/servers/{name}/stop").json["task_id"])
    assert (task["status"], api.get(f"/api/servers/{name}")["status"]) == ("succeeded", "stopped")
    figures = api.call("GET", "/metrics").text
    assert 'tpm_queue_length{queue="terraform"} 0.0' in figures and "tpm_workers_up 2.0" in figures


def test_rabbitmqs_queues_are_quorum_queues_and_no_more_than_are_needed(on: On) -> None:
    if on.rabbit is None:
        return
    rows = [line.split("\t") for line in on.rabbit.control("-q", "list_queues", "name", "type", "durable").splitlines()[1:]]
    ours = {name: (kind, durable) for name, kind, durable in rows if not name.startswith("celeryev") and not name.endswith("pidbox")}
    assert ours == dict.fromkeys(("terraform", "proxmox", "default"), ("quorum", "true"))


def test_none_of_500_requests_is_lost_when_the_broker_is_killed_in_their_middle(on: On) -> None:
    """Their VMs are not there: each action ends, and says so. What counts is that each was heard of."""
    stack, api = on.stack, on.stack.api()
    fill(stack, 1, ENQUEUED)
    names = [name for (name,) in stack.sql("select name from server where name like 'bench-%' order by name")]
    worker = stack.info["pids"]["worker_actions"]
    os.kill(worker, signal.SIGSTOP)  # so that messages lie in the queue when it dies
    struck = []

    def ask(number: int) -> int:
        if number == ENQUEUED // 2:
            struck.append(kill(on))
        return api.post(f"/api/servers/{names[number]}/stop").status

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(ENQUEUED)))
    assert struck and set(answers) == {202}, "who asks does not notice"
    if on.rabbit is not None:
        on.rabbit.start()
    os.kill(worker, signal.SIGCONT)
    finished = "select count(*) from action a join server s on s.id = a.server_id where s.name like 'bench-%' and a.finished_at is not null"
    eventually(lambda: stack.sql(finished)[0][0] == ENQUEUED, 180, f"all are heard of; {stack.sql(finished)[0][0]} are")
    assert stack.sql("select distinct error->>'code', upid from action a join server s on s.id = a.server_id where s.name like 'bench-%'") == [("vm_missing", None)]
    eventually(lambda: not stack.sql("select 1 from outbox"), 60, "nothing is left to be said")


def kill(on: On) -> int:
    """Take the broker away at once; the product's own one is started again by itself."""
    if on.rabbit is not None:
        on.rabbit.kill()
        return 0
    pid: int = on.stack.info["pids"]["valkey"]
    os.kill(pid, signal.SIGKILL)
    return pid
