"""IPv4 networks and their allocation ranges: what is wrong with one, and which addresses are free. Pure."""

from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any

Fault = tuple[str, str, dict[str, Any]]  # field, code, arguments
MIN_PREFIX, MAX_PREFIX = 8, 30


@lru_cache(maxsize=1 << 16)
def parse_ip(text: str) -> IPv4Address | None:
    """Return the address; None when it is not an IPv4 address."""
    try:
        return IPv4Address(text.strip())
    except ValueError:
        return None


def parse_cidr(text: str) -> IPv4Network | None:
    """Return the network of "10.0.0.0/24"; None when malformed, without a prefix, or with host bits."""
    try:
        return IPv4Network(text.strip()) if "/" in text else None
    except ValueError:
        return None


def cidr_fault(text: str) -> Fault | None:
    """Say what is wrong with a CIDR, with the network that was probably meant."""
    if parse_cidr(text) is None:
        try:
            meant = IPv4Network(text.strip(), strict=False) if "/" in text else None
        except ValueError:
            meant = None
        return (
            ("cidr", "cidr_host_bits", {"meant": str(meant)})
            if meant
            else ("cidr", "cidr_malformed", {"cidr": text[:60]})
        )
    prefix = IPv4Network(text.strip()).prefixlen
    if not MIN_PREFIX <= prefix <= MAX_PREFIX:
        return ("cidr", "cidr_prefix", {"low": MIN_PREFIX, "high": MAX_PREFIX})
    return None


def network_faults(cidr: str, gateway: str | None, low: str | None, high: str | None) -> list[Fault]:
    """Return everything wrong with a network's numbers; fields that depend on a faulty one are not judged."""
    fault = cidr_fault(cidr)
    faults: list[Fault] = [fault] if fault else []
    network = None if fault else parse_cidr(cidr)
    addresses: dict[str, IPv4Address] = {}
    for field, text in (("gateway", gateway), ("range_low", low), ("range_high", high)):
        if not text:
            continue
        address = parse_ip(text)
        if address is None:
            faults.append((field, "ip_malformed", {"ip": text[:60]}))
        elif network is not None and address not in network:
            faults.append((field, "ip_outside_network", {"ip": text, "cidr": str(network)}))
        elif network is not None and address in (network.network_address, network.broadcast_address):
            faults.append((field, "ip_not_a_host", {"ip": text, "cidr": str(network)}))
        else:
            addresses[field] = address
    if "range_low" in addresses and "range_high" in addresses and addresses["range_low"] > addresses["range_high"]:
        faults.append(("range_high", "range_reversed", {"low": low, "high": high}))
    return faults


def default_range(cidr: str) -> tuple[str, str]:
    """Return the first and last host of a network."""
    network = IPv4Network(cidr)
    return str(network.network_address + 1), str(network.broadcast_address - 1)


def reserved(cidr: str, gateway: str | None) -> set[int]:
    """Return the addresses nobody can have: network, broadcast, gateway."""
    network = IPv4Network(cidr)
    found = {int(network.network_address), int(network.broadcast_address)}
    address = parse_ip(gateway) if gateway else None
    return found | ({int(address)} if address else set())


def free(low: str, high: str, taken: Container[int]) -> Iterator[str]:
    """Yield the free addresses of a range, lowest first."""
    for number in range(int(IPv4Address(low)), int(IPv4Address(high)) + 1):
        if number not in taken:
            yield str(IPv4Address(number))


def spans(ips: Iterable[str]) -> list[tuple[str, str]]:
    """Return the addresses, in order, as first and last of those that follow each other."""
    out: list[list[int]] = []
    for number in sorted({int(IPv4Address(ip)) for ip in ips}):
        if out and out[-1][1] + 1 == number:
            out[-1][1] = number
        else:
            out.append([number, number])
    return [(str(IPv4Address(first)), str(IPv4Address(last))) for first, last in out]


def block_size(low: int, high: int, most: int = 256, least: int = 256) -> int:
    """Return the smallest power of two, `least` or more, that cuts a range into `most` aligned blocks or fewer."""
    size = least
    while high // size - low // size + 1 > most:
        size *= 2
    return size
