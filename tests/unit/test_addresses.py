"""Connected clients, counted by address."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.addresses import AddressCounts


@dataclass(frozen=True)
class Client:
    address: str | None


def counts(limit: int, *addresses: str | None) -> AddressCounts:
    """Return counts of one client from each of `addresses`."""
    made = AddressCounts()
    made.limit = limit
    for address in addresses:
        made.add(Client(address))
    return made


def test_address_is_full_at_the_limit() -> None:
    assert not counts(2, "192.0.2.1").is_full("192.0.2.1")
    full = counts(2, "192.0.2.1", "192.0.2.1")
    assert full.is_full("192.0.2.1")
    assert not full.is_full("192.0.2.2")
    full.remove(Client("192.0.2.1"))
    assert not full.is_full("192.0.2.1")


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("::ffff:192.0.2.1", "::FFFF:C000:201", "::ffff:192.0.2.2"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"),
        ("fe80::1%eth0", "fe80::2", "fe81::1"),
        ("::1", "::2", "127.0.0.1"),
        (None, "unknown", "192.0.2.1"),
        (None, "", "::"),
    ],
)
def test_network_counts_as_one(address: str | None, same: str | None, other: str) -> None:
    full = counts(1, address)
    assert full.is_full(same)
    assert not full.is_full(other)


def test_nothing_is_counted_without_a_limit() -> None:
    free = counts(0, *["192.0.2.1"] * 9)
    free.remove(Client("192.0.2.9"))
    assert not free.is_full("192.0.2.1")
    assert free._counts == {}


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", None])), st.data())
def test_counts_equal_the_connected_clients(
    addresses: list[str | None], data: st.DataObject
) -> None:
    """Whatever the order in which they leave; nothing is kept for an address without clients."""
    counted = counts(1000, *addresses)
    left = data.draw(st.permutations(addresses))
    gone = data.draw(st.integers(0, len(left)))
    for address in left[:gone]:
        counted.remove(Client(address))
    assert sum(counted._counts.values()) == len(left) - gone
    for address in {*addresses}:
        counted.limit = max(1, left[gone:].count(address))
        assert counted.is_full(address) is (address in left[gone:])
    assert len(counted._counts) == len({*left[gone:]})
