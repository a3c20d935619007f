"""An instance that people have used: something of everything there is a page for."""

from tests.stack import Api, Stack, eventually

NOTED = "noted<img/src=x/onerror=alert(1)>q{{7*7}}q\u202e"  # what somebody wrote about a snapshot


def furnish(stack: Stack, api: Api) -> str:
    """Make servers, runs of every outcome, a snapshot, a bulk, views, tokens; returns the server that has the most."""
    [name] = api.made("lived", tags=["web"], description="shopfront")
    api.wait_run(api.change(name, tags=["web", "prod"])["run_id"], "applied")
    _done(api, api.post(f"/api/servers/{name}/snapshots", {"name": "before", "description": NOTED}).json)
    safe = api.post(f"/api/servers/{name}/safe_change/async", {"change": {"tags": ["web", "prod", "safe"]}, "verify": "agent"}).json
    assert api.wait_task(safe["task_id"], 120)["status"] == "kept"
    bulk = api.post("/api/servers/bulk_action/async", {"names": [name], "action": "reboot"})
    assert bulk.status == 202, bulk.text
    eventually(lambda: not stack.sql("select 1 from action where finished_at is null"), what="it has rebooted")
    stack.refuse_next("xyz")
    api.wait_run(api.create("lived-not")["run_id"], "errored")
    # The first waits for a person, the next for the first.
    api.wait_run(api.change(name, cores=2, apply="confirm")["run_id"], "planned")
    api.change(name, tags=["web"])
    _row(stack, "saved_view", "user_id, name, query", f"{_ADMIN}, 'Mine', 'q=web'")
    at = {"name": "Nightly", "kind": "cron", "cron": "30 2 * * *", "timezone": "Asia/Seoul", "work": {"action": "snapshot_create", "servers": [name], "snapshot": {"keep": 3}}}
    scheduled = api.post("/api/schedules", at)
    assert scheduled.status == 201, scheduled.text
    _row(stack, "network", "cluster_id, name, bridge, vlan, cidr, dns_servers, range_low, range_high, is_default", f"{_CLUSTER}, 'lab', 'vmbr1', 7, '10.7.0.0/24', '[]', '10.7.0.2', '10.7.0.9', false")
    of_older = "source_key, name, vmid, role, os, cores, memory_mib, ip_addresses, former_status"
    _row(stack, "unmanaged_server", of_older, f"""'old:1', '{name}', (select vmid from server where name = '{name}'), 'nginx', 'ubuntu', 2, 4096, '["10.0.0.5"]', 'running'""")
    _row(stack, "unmanaged_server", of_older, """'old:2', 'long-gone', 9999, '', 'rocky', null, null, '[]', 'stopped'""")
    eventually(lambda: stack.sql("select 1 from guest") and stack.sql("select 1 from notification"), what="the cluster was read")
    return name


_ADMIN = """(select min(id) from "user")"""
_CLUSTER = "(select min(id) from cluster)"


def _row(stack: Stack, table: str, columns: str, values: str) -> None:
    stack.sql_write(f'insert into "{table}" ({columns}) values ({values})')


def _done(api: Api, task: dict[str, object]) -> None:
    assert api.wait_task(str(task["task_id"]))["status"] == "succeeded"
