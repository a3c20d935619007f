"""Prepared statements: their faults are told as SQLAlchemy tells them, and no connection is left in an unknown state."""

import pytest
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm import Session

from app.extensions import db
from app.pool import alone
from app.services.prepared import Prepared

DIVIDE = Prepared("select 12 / ($1->>0)::int")
PID = Prepared("select pg_backend_pid()")
END = Prepared("select pg_terminate_backend(pg_backend_pid())")
IN_TRANSACTION = Prepared("select now() <> statement_timestamp()")


def test_a_fault_is_told_and_the_transaction_can_be_taken_back() -> None:
    with Session(db.engine) as session:
        assert DIVIDE.all(session, [3]) == [4]
        with pytest.raises(DataError, match="division by zero"):
            DIVIDE.all(session, [0])
        session.rollback()
        assert DIVIDE.all(session, [4]) == [3]


def test_a_connection_that_postgresql_ended_is_not_used_again() -> None:
    with Session(db.engine) as session:
        before = PID.all(session, [])[0]
        with pytest.raises(OperationalError):
            END.all(session, [])
    with Session(db.engine) as session:
        assert PID.all(session, [])[0] != before


def test_a_statement_alone_is_a_transaction_of_its_own_and_the_next_user_has_one_again() -> None:
    with alone(db.engine) as conn:
        PID.rows(conn, [])
        # In autocommit each statement has its own beginning.
        assert [row[0] for row in IN_TRANSACTION.rows(conn, [])] == [False]
    with Session(db.engine) as session:
        PID.all(session, [])
        assert IN_TRANSACTION.all(session, []) == [True]
