"""A process of the product's own code that notifies: `python -m tests.bench.notifier`, as a run's process does at its end.

For each number on its input it commits one notification for the administrator through the product's unit of work and
prints the number and when the commit came back (seconds since the epoch).
"""

import sys
import time
from uuid import uuid4

from sqlalchemy import event, select

from app.config import get_settings
from app.domain.server_status import Severity
from app.models import User
from app.services import notifications
from app.services.context import application
from app.services.uow import unit_of_work


def main() -> None:
    """Commit and say so until the input ends."""
    mark = uuid4().hex
    with application(get_settings()):
        with unit_of_work() as uow:
            user_id = uow.session.scalars(select(User.id).where(User.username == "admin")).one()
        print("ready", flush=True)
        for line in sys.stdin:
            number, committed = int(line), []
            with unit_of_work() as uow:
                event.listen(uow.session, "after_commit", lambda _session: committed.append(time.time()), once=True)  # noqa: B023
                arguments = {"servers": ["bench-1"], "kind": "create", "run": 1, "seq": number}
                notifications.add(uow, [user_id], f"bench:{mark}:{number}", "run_applied", arguments, Severity.SUCCESS, "/runs/1", user_id)
            print(number, committed[0], flush=True)


if __name__ == "__main__":
    main()
