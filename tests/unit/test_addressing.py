"""IPv4 addresses as they are told."""

from app.domain import addressing


def test_addresses_that_follow_each_other_are_told_as_first_and_last() -> None:
    given = ["10.0.0.7", "10.0.0.255", "10.0.1.0", "10.0.0.9", "10.0.0.8"]
    assert addressing.spans(given) == [("10.0.0.7", "10.0.0.9"), ("10.0.0.255", "10.0.1.0")]
    assert addressing.spans([]) == []
