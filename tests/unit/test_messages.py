"""Texts: every code an error can carry has one, and a text never fails for want of an argument."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest
from flask import Flask
from flask_babel import Babel

import app as package
from app.errors import AppError
from app.messages import HINTS, MESSAGES, hint_of, text_of
from app.schemas.faults import unstorable


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    app = Flask(__name__)
    Babel(app)
    with app.app_context():
        yield


def _all(kind: type[AppError]) -> Iterator[type[AppError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _all(sub)


def test_every_code_of_an_error_has_a_text():
    for module in walk_packages(package.__path__, "app."):
        # Entries of processes, which do something when they are imported.
        if not module.name.startswith(("app.migrations", "app.gunicorn_conf", "app.wsgi", "app.celery_app")):
            import_module(module.name)
    ours = {kind.code for kind in _all(AppError) if kind.__module__.startswith("app.")} - {"internal_error"}
    assert sorted(code for code in ours if code not in MESSAGES) == []


def test_hints_belong_to_codes_that_have_a_text():
    assert sorted(HINTS.keys() - MESSAGES.keys()) == []


def test_a_text_without_its_arguments_still_says_something():
    for code in MESSAGES:
        assert text_of(code)
    for code in HINTS:
        assert hint_of(code)
    assert text_of("forbidden", {"permission": "approve"}) == "Your role lacks the permission “approve”."
    assert text_of("no_such_code") == "no_such_code"


def test_text_that_postgresql_cannot_hold_is_found_with_its_place():
    found = unstorable({"a": ["fine", {"b": "x\x00"}], "c": "\ud800", "d": "한국어 🙂"})
    assert [(f.field, f.code) for f in found] == [("a.1.b", "control_character"), ("c", "control_character")]
