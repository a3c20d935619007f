"""Many readers of one event stream in one process: `python -m tests.bench.clients BASE PATH COUNT`, the token in TOKEN.

Says `open` when all have been greeted; answers each line on its input with one JSON object: for every event's number,
when each reader had it (seconds since the epoch).
"""

import json
import os
import re
import resource
import selectors
import socket
import sys
import time
from collections import defaultdict
from urllib.parse import urlsplit

# In the product's notification the arguments carry it, in the bare stream it stands alone.
NUMBER = re.compile(rb'"seq":\s?(\d+)')


def main() -> None:
    """Open, say so, read until the input ends."""
    base, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 100, hard), hard))
    readers = [_connect(base, path, os.environ.get("TOKEN", "")) for _ in range(count)]
    print("open", flush=True)
    chosen = selectors.DefaultSelector()
    for reader in readers:
        reader.setblocking(False)
        chosen.register(reader, selectors.EVENT_READ, bytearray())
    chosen.register(sys.stdin, selectors.EVENT_READ)
    times: dict[int, list[float]] = defaultdict(list)
    while True:
        for key, _ in chosen.select():
            if key.fileobj is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(json.dumps(times), flush=True)
                times.clear()
            else:
                _take(key, times)


def _connect(base: str, path: str, token: str) -> socket.socket:
    parts = urlsplit(base)
    made = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{authorization}\r\n".encode())
    head = b""
    while b": hello" not in head:
        part = made.recv(65536)
        if not part:
            raise SystemExit(f"not greeted: {head[:300]!r}")
        head += part
    return made


def _take(key: selectors.SelectorKey, times: dict[int, list[float]]) -> None:
    sock, kept = key.fileobj, key.data
    data = sock.recv(65536)  # type: ignore[union-attr]  # a socket
    now = time.time()
    if not data:
        raise SystemExit("a stream ended")
    kept += data
    if kept.endswith(b"\r\n"):  # a whole chunk
        for number in NUMBER.findall(kept):
            times[int(number)].append(now)
        kept.clear()


if __name__ == "__main__":
    main()
