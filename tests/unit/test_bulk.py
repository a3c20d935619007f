"""What work on many servers does to one of them."""

import pytest

from app.domain.bulk import BulkKind, Subject, left_out, tagged
from app.domain.server_status import ServerStatus

R, S, D = ServerStatus.RUNNING, ServerStatus.STOPPED, ServerStatus.DELETING


@pytest.mark.parametrize(
    ("kind", "subject", "why"),
    [
        ("start", Subject(S, True, False), None),
        ("start", Subject(R, True, False), "bulk_runs_already"),
        ("start", Subject(S, False, False), "bulk_not_made"),
        ("start", Subject(S, True, True), "bulk_busy"),
        ("stop", Subject(S, True, False), "bulk_not_running"),
        ("reboot", Subject(ServerStatus.PAUSED, True, False), None),
        ("snapshot_create", Subject(S, True, False), None),
        ("snapshot_create", Subject(R, True, True), "bulk_busy"),
        ("tag", Subject(R, True, True), None),
        ("tag", Subject(R, False, False), "bulk_not_made"),
        ("delete", Subject(ServerStatus.FAILED, False, False), None),
        ("delete", Subject(R, True, True), None),
        ("delete", Subject(D, False, True), "bulk_deleting"),
    ],
)
def test_who_is_left_out_and_why(kind: str, subject: Subject, why: str | None) -> None:
    left = left_out(BulkKind(kind), subject)
    assert (left.code if left else None) == why


def test_tags_keep_their_order_and_come_once() -> None:
    assert tagged(["b", "a"], ["a", "c"], ["b"]) == ["a", "c"]
    assert tagged(["a"], ["b"], ["b"]) == ["a", "b"]  # asked for both: it is there afterwards
