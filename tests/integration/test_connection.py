"""Transactions begin with their first statement and may end with their last; to whoever uses them they are as ever."""

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.extensions import db
from app.models import Setting
from app.pool import alone
from app.services.batch import Batch, Taken
from app.services.prepared import Prepared

KEY = "connection-test"
PUT = Prepared("insert into setting (key, value) values ($1->>0, '1') returning key")


def _status(conn: Connection) -> int:
    return int(conn.connection.driver_connection.get_transaction_status())  # type: ignore[union-attr]  # psycopg2's


def _there() -> bool:
    with db.engine.connect() as other:
        return other.execute(text("select 1 from setting where key = :key"), {"key": KEY}).first() is not None


def _rows(*keys: str) -> Batch:
    rows = Batch()
    for key in keys:
        rows.add(Setting(key=key, value=1))
    return rows


def test_nothing_is_begun_before_the_first_statement_and_what_follows_is_one_transaction() -> None:
    with db.engine.connect() as conn:
        conn.begin()
        assert _status(conn) == TRANSACTION_STATUS_IDLE
        first = conn.execute(text("select now()")).scalar()
        assert _status(conn) == TRANSACTION_STATUS_INTRANS
        assert conn.execute(text("select now()")).scalar() == first


def test_what_is_taken_back_never_was() -> None:
    with db.engine.connect() as conn:
        conn.execute(text("insert into setting (key, value) values (:key, '1')"), {"key": KEY})
        conn.rollback()
        assert _status(conn) == TRANSACTION_STATUS_IDLE
        # Several rows at once are sent in another way.
        conn.execute(text("insert into setting (key, value) values (:key, '1')"), [{"key": KEY}, {"key": f"{KEY}-2"}])
        assert _status(conn) == TRANSACTION_STATUS_INTRANS
        conn.rollback()
    assert not _there()


def test_what_is_committed_is_seen_by_everybody() -> None:
    with db.engine.begin() as conn:
        conn.execute(text("insert into setting (key, value) values (:key, '1')"), {"key": KEY})
        assert not _there()
    assert _there()


def test_after_a_fault_the_transaction_takes_nothing_more_until_it_is_taken_back() -> None:
    with Session(db.engine) as session:
        PUT.all(session, [KEY])
        with pytest.raises(IntegrityError):
            PUT.all(session, [KEY])
        session.rollback()
        assert PUT.all(session, [KEY]) == [KEY]
    assert not _there()


def test_a_statement_alone_commits_itself() -> None:
    with alone(db.engine) as conn:
        PUT.rows(conn, [KEY])
        assert _status(conn) == TRANSACTION_STATUS_IDLE
        assert _there()


def test_a_batch_that_commits_leaves_nothing_to_be_done() -> None:
    with Session(db.engine) as session:
        assert PUT.all(session, [KEY]) == [KEY]
        _rows(f"{KEY}-2").write(session, commit=True)
        assert _there()
        assert _status(session.connection()) == TRANSACTION_STATUS_IDLE
        session.commit()


def test_a_batch_that_meets_a_taken_value_commits_nothing_and_another_may_follow() -> None:
    with Session(db.engine) as session:
        PUT.all(session, [f"{KEY}-2"])
        with pytest.raises(Taken):
            _rows(f"{KEY}-2", KEY).write(session, commit=True)
        assert not _there()
        _rows(KEY).write(session, commit=True)
    assert _there()
