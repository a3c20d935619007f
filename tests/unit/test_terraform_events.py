"""Terraform's JSON lines as changes, diagnostics and log lines."""

import json
from typing import Any

from app.adapters.terraform import events

ADDRESS = 'proxmox_virtual_environment_vm.server["web-1"]'


def line(**event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


def test_planned_changes_are_read_with_key_action_and_reason() -> None:
    data = line(type="planned_change", change={"resource": {"addr": ADDRESS}, "action": "replace", "reason": "cannot_update"})
    assert events.changes(events.parse(data)) == [events.Change(ADDRESS, "web-1", "replace", "cannot_update")]


def test_an_import_that_changes_something_is_an_update() -> None:
    importing = {"resource": {"addr": ADDRESS}, "importing": {"id": "pve1/200"}}
    data = line(type="planned_change", change={**importing, "action": "noop"}) + line(type="planned_change", change={**importing, "action": "update"})
    assert [c.action for c in events.changes(events.parse(data))] == ["import", "update"]


def test_a_plan_is_whole_only_with_every_change_that_its_summary_counts() -> None:
    def change(action: str, **more: Any) -> bytes:
        return line(type="planned_change", change={"resource": {"addr": ADDRESS}, "action": action, **more})

    def summary(**counts: int) -> bytes:
        return line(type="change_summary", changes={"add": 0, "change": 0, "import": 0, "remove": 0, "operation": "plan", **counts})

    def whole(data: bytes) -> bool:
        return events.whole(list(events.parse(data)))

    assert whole(summary())
    assert whole(change("create") + change("replace") + change("delete") + summary(add=2, remove=2))
    assert whole(change("update", importing={"id": "pve1/200"}) + change("noop", importing={"id": "pve1/201"}) + summary(**{"change": 1, "import": 2}))
    assert not whole(b"")
    assert not whole(change("create"))
    assert not whole(change("create") + summary(add=1, remove=1))


def test_log_lines_name_the_server_and_not_the_address() -> None:
    event = {"type": "apply_start", "@message": f"{ADDRESS}: Creating...", "@timestamp": "2026-01-02T03:04:05.6Z"}
    assert events.readable(event) == "03:04:05  web-1: Creating...\n"


def test_an_error_reads_with_its_detail() -> None:
    event = {"type": "diagnostic", "@message": "Error: x", "diagnostic": {"severity": "error", "summary": "VM clone", "detail": "one\ntwo", "address": ADDRESS}}
    assert events.readable(event) == "Error: web-1: VM clone\n  one\n  two\n"
    assert events.diagnostics([event]) == [events.Diagnostic("error", "VM clone", "one\ntwo", "web-1")]


def test_noise_is_left_out() -> None:
    halted = {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "execution halted", "detail": ""}}
    targeting = {"type": "diagnostic", "diagnostic": {"severity": "warning", "summary": "Resource targeting is in effect", "detail": ""}}
    assert [events.readable(e) for e in (halted, targeting, {"type": "version", "@message": "Terraform 1"}, {"type": "resource_drift"})] == [None] * 4
    assert events.diagnostics([halted, targeting]) == []


def test_text_that_is_no_json_is_kept() -> None:
    assert [events.readable(e) for e in events.parse(b"panic: oops\n")] == ["panic: oops\n"]


def test_an_attribute_diff_shows_what_differs_and_masks_what_is_secret() -> None:
    shown = {"resource_changes": [{"address": ADDRESS, "change": {
        "actions": ["update"], "before": {"cores": 1, "tags": ["a"], "pw": "old", "same": 1, "empty": None},
        "after": {"cores": 2, "tags": ["a", "b"], "pw": "new", "same": 1, "empty": []},
        "before_sensitive": {"pw": True, "tags": [False]}, "after_sensitive": {"pw": True, "tags": []}, "after_unknown": {}}}]}  # fmt: skip
    rows = {r["path"]: (r["before"], r["after"]) for r in events.attributes(shown)[ADDRESS]}
    assert rows == {"cores": (1, 2), "tags": (["a"], ["a", "b"]), "pw": ("***", "***")}


def test_what_only_tells_of_the_interrupt_is_told_from_a_real_error() -> None:
    said = line(type="diagnostic", diagnostic={"severity": "error", "summary": "Unrecognized remote plugin message:", "detail": "Failed to read"})
    said += line(type="diagnostic", diagnostic={"severity": "error", "summary": "VM clone", "detail": "No space left on device"})
    assert [events.of_the_interrupt(d) for d in events.diagnostics(events.parse(said))] == [True, False]
