"""IPv4 addresses as they are told."""

from ipaddress import IPv4Address

from app.domain import addressing


def test_addresses_that_follow_each_other_are_told_as_first_and_last() -> None:
    given = ["10.0.0.7", "10.0.0.255", "10.0.1.0", "10.0.0.9", "10.0.0.8"]
    assert addressing.spans(given) == [("10.0.0.7", "10.0.0.9"), ("10.0.0.255", "10.0.1.0")]
    assert addressing.spans([]) == []


def test_a_range_is_cut_into_few_enough_blocks() -> None:
    def size(low: str, high: str) -> int:
        return addressing.block_size(int(IPv4Address(low)), int(IPv4Address(high)))

    assert size("10.0.0.0", "10.0.255.255") == 256
    assert size("10.0.0.255", "10.1.0.0") == 512
    assert size("10.0.0.1", "10.255.255.254") == 65536
    assert size("10.0.0.1", "10.0.4.0") == 256
