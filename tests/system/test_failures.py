"""Failures that a person meets through the whole product: in Terraform's own words when nobody knows them."""

import html

import pytest

from tests.stack import Api, Stack, eventually


def card(api: Api, run_id: int) -> str:
    """Return the failure's card as the run's page has it."""
    page = html.unescape(api.call("GET", f"/runs/{run_id}/head").text)
    return page[page.index('<section class="fail card"') :]


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(500, "the moon is in the wrong house", "proxmox_refused"), (418, "a teapot answers in its place", "terraform_failed")],
)
def test_an_unknown_failure_is_told_in_terraforms_words_with_its_server(stack: Stack, admin: Api, status: int, reason: str, code: str) -> None:
    stack.control("time", clone_seconds=1)
    body = admin.create(f"odd{status}", count=2)
    lucky, unlucky = body["servers"]
    vmid = admin.get(f"/api/servers/{unlucky}")["vmid"]
    stack.control("fail", method="PUT", suffix=f"/qemu/{vmid}/config", status=status, message=reason)
    run = admin.wait_run(body["run_id"], "errored")
    assert (run["error"]["code"], run["error"]["remedy"]) == (code, "retry")
    assert reason in run["error"]["message"]
    assert run["error"]["detail"].startswith(f"{unlucky}: ")
    shown = card(admin, body["run_id"])
    assert f"{unlucky}: " in shown and f"HTTP {status} response - Reason: {reason}" in shown
    assert f"{lucky}: " not in shown
    assert run["error"]["hint"] in shown and "Try again" in shown


def test_connections_that_break_off_in_the_middle_do_not_end_a_run(stack: Stack, admin: Api) -> None:
    stack.control("time", clone_seconds=3)
    body = admin.create("interrupted-line")
    vmid = admin.get("/api/servers/interrupted-line")["vmid"]
    eventually(lambda: vmid in {vm["vmid"] for vm in stack.control("vms")}, 30, "the clone has begun")
    stack.control("network", drop_rate=1.0)
    eventually(lambda: "looking again once it answers" in admin.log(body["run_id"]), 60, "the run has noticed")
    stack.control("network", drop_rate=0.0)
    admin.wait_run(body["run_id"], "applied")
    assert [vm["vmid"] for vm in stack.control("vms") if vm["name"] == "interrupted-line"] == [vmid]
