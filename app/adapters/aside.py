"""Work that keeps the processor busy, done where it does not stop a web process's other greenlets."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """Run CPU work on gevent's thread pool when this process is patched, else right here."""
    from gevent import monkey  # noqa: PLC0415 - workers without gevent never come here

    if not monkey.is_module_patched("threading"):
        return work()
    from gevent import get_hub  # noqa: PLC0415

    result: T = get_hub().threadpool.apply(work)
    return result
