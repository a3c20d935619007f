"""Keys that are rotated: an instance goes on without the former key, and knows all that it knew."""

import json

from tests.stack import Stack, running


def restarted(stack: Stack, keys: str) -> None:
    stack.stop()
    stack.environment["ENCRYPTION_KEYS"] = keys
    stack.start()


def test_after_a_rotation_the_former_key_is_not_needed_any_more() -> None:
    new = "the-newer-key-of-this-instance-0123456789-abcdef"
    with running() as stack:
        stack.api().made("kept")
        old = json.loads((stack.data_dir / "instance.json").read_text())["encryption_keys"]
        restarted(stack, f"{new},{old}")
        said = stack.cli("rotate-keys")
        assert "cluster.secret: 1 encrypted anew" in said and "state_version.body: " in said
        restarted(stack, new)
        api = stack.api()
        [run_id] = [row[0] for row in stack.sql("select max(id) from run")]
        change = api.change("kept", cores=3)
        api.wait_run(change["run_id"], "applied")
        assert change["run_id"] > run_id and api.get("/api/servers/kept")["cores"] == 3
        api.made("after")
        assert sorted(vm["name"] for vm in stack.vms().values() if vm["name"] in ("kept", "after")) == ["after", "kept"]
