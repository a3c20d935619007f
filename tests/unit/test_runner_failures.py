"""What stopped a runner, told by its code."""

import errno
import shutil

import pytest

from app.runner.main import _failure


@pytest.mark.parametrize(
    "exc",
    [
        OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"),
        shutil.Error([("skeleton/main.tf", "runs/7/main.tf", "[Errno 28] No space left on device: 'runs/7/main.tf'")]),
    ],
)  # fmt: skip
def test_a_disk_without_room_is_told_as_one_however_it_is_found(exc: Exception) -> None:
    assert _failure(exc).code == "work_disk_full"


@pytest.mark.parametrize("exc", [ValueError("x"), OSError(errno.EACCES, "no"), shutil.Error([("a", "b", "[Errno 13] Permission denied: 'b'")])])
def test_what_nobody_expected_is_our_own_fault(exc: Exception) -> None:
    assert _failure(exc).code == "internal_error"
