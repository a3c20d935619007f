"""Limits of tasks in a real worker of threads: what takes too long is told so, and its worker goes on."""

import json

from tests.stack import Stack, eventually, running


def events(stack: Stack, name: str) -> list[dict[str, object]]:
    lines = (stack.data_dir / "log" / "worker_actions.log").read_text("utf-8").splitlines()
    return [line for text in lines if text.startswith("{") and (line := json.loads(text))["event"] == name]


def test_a_task_over_its_soft_limit_is_ended_and_the_same_worker_does_the_next_one() -> None:
    with running(TASK_SOFT_TIME_LIMIT_S="2", TASK_TIME_LIMIT_S="120") as stack:
        worker = stack.info["pids"]["worker_actions"]
        stack.control("network", latency=8)  # a poll of the cluster takes longer than its task may
        told = eventually(lambda: events(stack, "task_over_soft_limit"), 60, "a task is told")
        assert told[0]["task"] == "inventory.poll"
        stack.control("network", latency=0)
        seen = "select 1 from cluster where status = 'online' and polled_at > now() - interval '5 seconds'"
        eventually(lambda: stack.sql(seen), 60, "the next poll succeeds")
        assert stack.info["pids"]["worker_actions"] == worker
