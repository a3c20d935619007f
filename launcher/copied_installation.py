"""What makes a restored database an installation of its own: another id, no hold on anything, and its brake on."""

import json
from typing import Any
from uuid import uuid4

MARKER = "managed-by:tpm"


def become_another(connection: Any) -> str:
    """Give the copy a new installation id and pause its runs, in the transaction of the restore; returns the id.

    Markers of its servers name the new id: no VM carries those, so that the copy takes the original's servers for
    foreign ones, which are never touched.
    """
    fresh = uuid4().hex
    with connection.cursor() as cursor:
        cursor.execute("select value->>'id' from setting where key = 'installation_id'")
        row = cursor.fetchone()
        former = row[0] if row else ""
        for key, value in (("installation_id", {"id": fresh}), ("runs_paused", {"by": "restore", "copy_of": former})):
            cursor.execute(
                "insert into setting (key, value) values (%s, %s) on conflict (key) do update set value = excluded.value, updated_at = clock_timestamp()",
                (key, json.dumps(value)),
            )
        before, after = f"{MARKER}/{former}/", f"{MARKER}/{fresh}/"
        cursor.execute("update server set marker = %s || substr(marker, %s) where starts_with(marker, %s)", (after, len(before) + 1, before))
        _leave_begun_work(cursor)
        _tell_nobody_twice(cursor)
    return fresh


def _leave_begun_work(cursor: Any) -> None:
    """End what the original had begun: it goes on with that itself, and plans made there carry its markers."""
    error = json.dumps({"code": "restored_copy", "args": {}, "detail": ""})
    cursor.execute(
        "update run set state = 'errored', error = %s, finished_at = clock_timestamp(), version = version + 1 "
        "where state in ('planning', 'planned', 'apply_queued', 'applying') returning id",
        (error,),
    )
    ended = tuple(row[0] for row in cursor) or (0,)
    cursor.execute(
        "update action set state = 'failed', error = %s, finished_at = clock_timestamp(), version = version + 1 where state = 'running' returning id",
        (error,),
    )
    actions = tuple(row[0] for row in cursor) or (0,)
    cursor.execute("update server set status = 'failed' where status = 'creating' and busy_run_id in %s", (ended,))
    cursor.execute("update server set status = 'unknown' where status = 'deleting' and busy_run_id in %s", (ended,))
    cursor.execute("update server set busy_run_id = null, version = version + 1 where busy_run_id in %s", (ended,))
    cursor.execute("update server set busy_action_id = null, version = version + 1 where busy_action_id in %s", (actions,))
    cursor.execute("delete from slot where run_id in %s", (ended,))
    # Processes of the original may live on this very machine under the noted ids.
    cursor.execute("delete from run_lease")


def _tell_nobody_twice(cursor: Any) -> None:
    """Bells and messages that were on their way are the original's to deliver."""
    cursor.execute("delete from outbox")
    cursor.execute("select to_regclass('public.delivery')")
    if cursor.fetchone()[0] is not None:
        cursor.execute("delete from delivery where state = 'pending'")
