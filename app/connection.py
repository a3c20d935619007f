"""A psycopg2 connection whose transactions begin in the round trip of their first statement, and may end in that of their last.

psycopg2 sends BEGIN ahead of the first statement and waits for its answer. Here the server is never asked for one alone:
psycopg2 stays in its autocommit mode, which is a matter of the client only, and whatever is not in a transaction yet is
sent as `begin; statement`. A statement that ends with `; commit` leaves nothing open, and `commit()` then has nothing to do.
"""

from typing import Any

from psycopg2 import extensions


class Cursor(extensions.cursor):
    """Begins the transaction of its connection where there is none; by the two methods that SQLAlchemy calls."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        super().execute(f"begin; {query}" if self._must_begin() else query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        if self._must_begin():
            super().execute("begin")
        super().executemany(query, vars_list)

    def _must_begin(self) -> bool:
        connection: Any = self.connection
        return bool(connection.transactional) and connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE


class Connection(extensions.connection):
    """`transactional` is False while each statement is its own transaction."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        self.transactional = True
        self.cursor_factory = Cursor

    def commit(self) -> None:
        self._end("commit")

    def rollback(self) -> None:
        self._end("rollback")

    def _end(self, word: str) -> None:
        if self.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE:
            return
        with self.cursor() as cursor:
            cursor.execute(word)
