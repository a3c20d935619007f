"""Values of the older database: what is kept, what is changed, and what is said about it."""

from zoneinfo import ZoneInfo

import pytest

from scripts.older import values
from tests.fixtures.older import hashed

SEOUL = ZoneInfo("Asia/Seoul")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-05-01 09:30:00", "2024-05-01T00:30:00+00:00"),
        ("2024-05-01T09:30:00.250000", "2024-05-01T00:30:00.250000+00:00"),
        ("2024-05-01 09:30:00+00:00", "2024-05-01T09:30:00+00:00"),
        ("2024-05-01T09:30:00Z", "2024-05-01T09:30:00+00:00"),
        (1_714_523_400, "2024-05-01T00:30:00+00:00"),
        (None, None),
        ("", None),
    ],
)
def test_a_time_without_a_zone_is_one_of_the_given_zone(said, given, expected):
    assert (values.at(given, SEOUL, "created_at", said.append), said) == (expected, [])


@pytest.mark.parametrize("given", ["yesterday", "2024-13-45 00:00:00", "0000-00-00 00:00:00", 10**30, "9999-99"])
def test_what_is_no_time_is_named_and_left_out(said, given):
    assert values.at(given, SEOUL, "created_at", said.append) is None
    assert said == [f"created_at {str(given)[:60]!r} is no time and is left out"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("10.0.0.1", ["10.0.0.1"]), ("10.0.0.1, 10.0.0.2,,10.0.0.1", ["10.0.0.1", "10.0.0.2"]), ("10.0.0.1/24;fe80::1", ["10.0.0.1", "fe80::1"]), (None, []), ("dhcp", [])],
)
def test_joined_addresses_are_split(said, given, expected):
    assert (values.addresses(given, said.append), said) == (expected, [])


def test_an_address_that_the_older_column_cut_off_is_named_and_the_others_stay(said):
    assert values.addresses("10.200.100.101,10.200.100.102,10.200.100.103,10.", said.append) == ["10.200.100.101", "10.200.100.102", "10.200.100.103"]
    assert said == ["'10.' is no address and is left out"]


@pytest.mark.parametrize("method", ["scrypt:1024:8:1", "pbkdf2:sha256:1000", "pbkdf2:sha512:1000"])
def test_hashes_of_the_older_application_are_kept(said, method):
    known = hashed(method)
    assert (values.password_hash(known, said.append), said) == (known, [])


@pytest.mark.parametrize("given", ["hunter2", "", None, "md5$abc$0123", "pbkdf2:sha256:99999999999$salt$" + "0" * 64, "scrypt:32768:8:1$salt$zz"])
def test_what_may_be_a_plain_password_is_never_kept(said, given):
    assert values.password_hash(given, said.append) == ""
    assert len(said) == 1
    assert str(given or "hunter2") not in said[0]


def test_texts_that_postgresql_cannot_store_are_made_storable():
    assert values.text("a\0b\ud800") == "ab?"
    assert values.text(b"\xff") == "�"


@pytest.mark.parametrize(("given", "expected"), [("4", 4), (4.0, 4), (None, None), ("", None)])
def test_numbers_are_read_however_they_are_stored(said, given, expected):
    assert (values.whole(given, "cpu", said.append), said) == (expected, [])


@pytest.mark.parametrize("given", ["four", -1, 2**40, float("inf")])
def test_what_is_no_number_is_named_and_left_out(said, given):
    assert values.whole(given, "cpu", said.append) is None
    assert len(said) == 1
