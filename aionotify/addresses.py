"""How many clients are connected from each address."""

from typing import Protocol

from aionotify.net import network_of


class Client(Protocol):
    """What is counted: a connected client."""

    @property
    def address(self) -> str | None:
        """The client's address, or None if it has none, as over a Unix socket."""


class AddressCounts:
    """The number of connected clients from each address; nothing while `limit` is 0.

    An IPv6 network of 64 bits is one address: a single subscriber of a provider gets that many, and
    could use another one for each connection.
    """

    def __init__(self) -> None:
        """Create it without a limit."""
        self.limit = 0
        """The number of clients from one address above which further ones are rejected; 0: none."""
        # Only counts, and no set of clients: an idle client stays as small as without a limit.
        self._counts: dict[str, int] = {}

    def is_full(self, address: str | None) -> bool:
        """Return whether one more client from `address` would exceed the limit."""
        return self.limit > 0 and self._counts.get(network_of(address), 0) >= self.limit

    def add(self, client: Client) -> None:
        """Count a client that has connected."""
        if self.limit:
            network = network_of(client.address)
            self._counts[network] = self._counts.get(network, 0) + 1

    def remove(self, client: Client) -> None:
        """Forget a client that was counted. Its address must be the same as then."""
        if self.limit:
            network = network_of(client.address)
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]
