"""The bare application of floor.py: a row and a Celery message for a POST, and a Redis stream fanned out to all readers."""

import os
import queue
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg2
import redis
from celery import Celery
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from psycogreen.gevent import patch_psycopg

from tests.bench.floor import QUEUE, STREAM

if not os.environ["FLOOR_THREADS"]:
    patch_psycopg()

DATABASE, REDIS = os.environ["FLOOR_DATABASE"], os.environ["FLOOR_REDIS"]
BLOCK_MS = 10_000
app = Flask(__name__)
celery = Celery("floor", broker=REDIS)
celery.conf.update(task_default_queue=QUEUE, task_ignore_result=True, broker_connection_retry_on_startup=True)
_idle: "queue.LifoQueue[psycopg2.extensions.connection]" = queue.LifoQueue()
_readers: "set[queue.SimpleQueue[bytes]]" = set()
_started = threading.Lock()


@celery.task(name="floor.nothing")
def nothing(number: int) -> None:
    """Never run: only its message is sent."""


@app.get("/")
def index() -> ResponseReturnValue:
    return urlsplit(request.url).path


@app.post("/post")
def post() -> ResponseReturnValue:
    """Insert one row, send one message."""
    try:
        connection = _idle.get_nowait()
    except queue.Empty:
        connection = psycopg2.connect(DATABASE)
        connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("insert into bench_floor (name) values (%s) returning id", (request.get_json()["name"],))
        number = cursor.fetchone()[0]
    _idle.put(connection)
    nothing.delay(number)
    return jsonify(id=number), 202


@app.get("/stream")
def stream() -> ResponseReturnValue:
    """Everything that comes into the stream from now on."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_read, daemon=True).start()
    mine: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    _readers.add(mine)
    return Response(_frames(mine), mimetype="text/event-stream", direct_passthrough=True)


def _frames(mine: "queue.SimpleQueue[bytes]") -> Iterator[bytes]:
    try:
        yield b": hello\n\n"
        while True:
            yield mine.get()
    finally:
        _readers.discard(mine)


def _read() -> None:
    client, last = redis.Redis.from_url(REDIS, socket_timeout=BLOCK_MS / 1000 + 5), b"$"
    while True:
        for _, entries in client.xread({STREAM: last}, block=BLOCK_MS) or ():
            for id_, fields in entries:
                last = id_
                frame = b"id: " + id_ + b"\nevent: notification\ndata: " + fields[b"d"] + b"\n\n"
                for reader in list(_readers):
                    reader.put(frame)
