"""Server-Sent Events as bytes: frames and the ids of stream entries."""

import random
import re

# An event and no comment: a browser's script must notice when a connection that looks open says nothing any more.
HEARTBEAT = b"event: beat\ndata: {}\n\n"
_ID = re.compile(r"\d{1,20}-\d{1,20}")
EntryId = tuple[int, int]
START: EntryId = (0, 0)


def frame(type_: str, data: str, id_: str = "") -> bytes:
    """Return one event; `data` may have several lines, a carriage return would end one early and is dropped."""
    head = f"id: {id_}\nevent: {type_}\n" if id_ else f"event: {type_}\n"
    body = "".join(f"data: {line}\n" for line in data.replace("\r", "").split("\n"))
    return f"{head}{body}\n".encode()


def hello() -> bytes:
    """Return the first bytes, sent at once so that proxies pass the rest on; clients come back at different times."""
    return f"retry: {random.randint(1000, 3000)}\n: hello\n\n".encode()  # noqa: S311 - jitter, no secret


def parse_id(text: str) -> EntryId | None:
    """Return an entry id in an order that can be compared; None when it is not one."""
    if not _ID.fullmatch(text):
        return None
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)
