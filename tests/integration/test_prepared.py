"""Prepared statements: their faults are told as SQLAlchemy tells them, and no connection is left in an unknown state."""

from contextlib import suppress

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm import Session

from app.extensions import db
from app.models import Setting
from app.pool import alone
from app.services.prepared import Prepared
from app.services.uow import unit_of_work

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


def test_statements_and_rows_of_one_unit_are_one_transaction_whichever_comes_first() -> None:
    write = Prepared("insert into setting (key, value) values ($1->>0, '1') returning key")
    for name, rows_first in (("statement", False), ("rows", True)):
        for works in (False, True):
            with suppress(ZeroDivisionError), unit_of_work() as uow:
                if rows_first:
                    uow.session.add(Setting(key=f"{name}-row", value=1))
                    uow.session.flush()
                assert write.all(uow.session, [f"{name}-statement"]) == [f"{name}-statement"]
                if not rows_first:
                    uow.session.add(Setting(key=f"{name}-row", value=1))
                if not works:
                    raise ZeroDivisionError  # taken back
            with unit_of_work() as uow:
                found = set(uow.session.scalars(select(Setting.key).where(Setting.key.like(f"{name}-%"))))
            assert found == ({f"{name}-statement", f"{name}-row"} if works else set())


def test_a_unit_of_statements_alone_gives_its_connection_back() -> None:
    before = db.engine.pool.checkedout()
    for works in (False, True):
        with suppress(DataError), unit_of_work() as uow:
            DIVIDE.all(uow.session, [int(works)])
        assert db.engine.pool.checkedout() == before
