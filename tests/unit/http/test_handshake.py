"""The opening handshake of WebSocket, as the server checks it."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from aionotify.errors import InvalidRequest, UnsupportedVersion, UpgradeRequired
from aionotify.http.handshake import handshake_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def key_of(*more: tuple[str, str], **changes: str) -> str:
    """Check a handshake with some headers changed, removed (empty), or added."""
    names = {name.replace("_", "-"): value for name, value in changes.items()}
    fields = CIMultiDict(name for name in (HANDSHAKE | names).items() if name[1])
    for name, value in more:
        fields.add(name, value)
    return handshake_key(make_mocked_request("GET", "/ws", headers=fields))


def test_key_is_returned() -> None:
    assert key_of() == KEY


@pytest.mark.parametrize("connection", ["upgrade", "keep-alive, Upgrade", ",UPGRADE ,x"])
def test_connection_is_a_list(connection: str) -> None:
    assert key_of(Connection=connection) == KEY


def test_connection_may_be_repeated() -> None:
    assert key_of(("Connection", "Upgrade"), Connection="keep-alive") == KEY


@pytest.mark.parametrize(
    "changes",
    [{"Connection": ""}, {"Connection": "close"}, {"Upgrade": ""}, {"Upgrade": "h2c"}],
    ids=repr,
)
def test_other_requests_need_an_upgrade(changes: dict[str, str]) -> None:
    with pytest.raises(UpgradeRequired, match=r"^Upgrade Required$") as caught:
        key_of(**changes)
    assert not isinstance(caught.value, UnsupportedVersion)


@pytest.mark.parametrize("version", ["", "8", "13, 8", "x"])
def test_other_versions_are_unsupported(version: str) -> None:
    with pytest.raises(UnsupportedVersion, match=r"^Only WebSocket protocol version 13 is"):
        key_of(Sec_WebSocket_Version=version)


@pytest.mark.parametrize("key", ["", "short", KEY[:-2], KEY + "x", "!" + KEY[1:], "é" + KEY[1:]])
def test_other_keys_are_invalid(key: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^Sec-WebSocket-Key must be 16 bytes in base64\.$"):
        key_of(Sec_WebSocket_Key=key)
