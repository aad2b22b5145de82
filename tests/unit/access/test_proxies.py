"""Headers of trusted proxies: which of them count, and which clients can forge."""

from ipaddress import ip_address
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aionotify.access.proxies import forwarded_address, requested_host

FORWARDED = """
proxies | header          | value                                      | address
0       | X-Forwarded-For | 192.0.2.1                                  | -
1       | X-Forwarded-For | 192.0.2.1                                  | 192.0.2.1
1       | X-Forwarded-For | 203.0.113.9, 192.0.2.1                     | 192.0.2.1
2       | X-Forwarded-For | 203.0.113.9, 192.0.2.1,10.0.0.1            | 192.0.2.1
2       | X-Forwarded-For | 192.0.2.1                                  | -
1       | X-Forwarded-For | unknown                                    | -
1       | X-Forwarded-For | 192.0.2.1:4711                             | 192.0.2.1
1       | X-Forwarded-For | [2001:DB8::1]:4711                         | 2001:db8::1
1       | X-Forwarded-For | 2001:db8::1                                | 2001:db8::1
1       | X-Forwarded-For | <script>                                   | -
1       | X-Forwarded-For | fe80::1%eth0                               | fe80::1
1       | X-Forwarded-For | [fe80::1%<script>]:4711                    | fe80::1
1       | Forwarded       | for=192.0.2.1;proto=https                  | 192.0.2.1
1       | Forwarded       | for=203.0.113.9, For="[2001:db8::1]:4711"  | 2001:db8::1
2       | Forwarded       | for=192.0.2.1, for=10.0.0.1;by=10.0.0.2    | 192.0.2.1
1       | Forwarded       | proto=https                                | -
1       | X-Real-IP       | 192.0.2.1                                  | -
"""


TEXT = st.text(st.characters(exclude_characters=","), max_size=50)
ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize("line", FORWARDED.splitlines()[2:])
def test_forwarded_address_by_table(line: str) -> None:
    proxies, name, value, address = (part.strip() for part in line.split("|"))
    request = make_mocked_request("GET", "/", headers={name: value})
    reported = forwarded_address(request, int(proxies))
    assert reported == (None if address == "-" else address)


@given(forged=st.lists(ADDRESSES, max_size=4), trusted=st.lists(ADDRESSES, min_size=1, max_size=4))
def test_forged_entries_are_ignored(forged: list[str], trusted: list[str]) -> None:
    """The entry of the outermost trusted proxy is used, for any entries to the left of it."""
    headers = {"X-Forwarded-For": ", ".join([*forged, *trusted])}
    request = make_mocked_request("GET", "/", headers=headers)
    assert forwarded_address(request, len(trusted)) == trusted[0]


@given(text=TEXT | TEXT.map("fe80::1%{}".format))
def test_forwarded_address_is_address_or_none(text: str) -> None:
    """The address goes into the log, so it must not be an arbitrary text of the client."""
    # aiohttp 3.14.5 decodes header bytes that are not UTF-8 as surrogates, but make_mocked_request
    # fails to encode those.
    request = SimpleNamespace(headers=CIMultiDict({"X-Forwarded-For": text}))
    address = forwarded_address(cast(web.Request, request), 1)
    assert address is None or str(ip_address(address)) == address
    assert "%" not in (address or "")


def test_addresses_on_several_lines_are_one_list() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1")])
    request = make_mocked_request("GET", "/", headers=headers)
    assert forwarded_address(request, 1) == "192.0.2.1"
    assert forwarded_address(request, 2) == "203.0.113.9"


def test_x_forwarded_for_wins_over_forwarded() -> None:
    headers = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=203.0.113.9"}
    assert forwarded_address(make_mocked_request("GET", "/", headers=headers), 1) == "192.0.2.1"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "host"),
    [
        (0, "forged.example", "own.example"),
        (1, "", "own.example"),
        (1, "notify.example", "notify.example"),
        (1, "forged.example, notify.example", "notify.example"),
        (2, "forged.example, notify.example, inner.example", "notify.example"),
        (2, "notify.example", "notify.example"),
    ],
)
def test_requested_host(proxies: int, forwarded: str, host: str) -> None:
    """The last case: the inner proxy replaced the header instead of appending to it."""
    headers = {"Host": "own.example", "X-Forwarded-Host": forwarded}
    assert requested_host(make_mocked_request("GET", "/", headers=headers), proxies) == host


def test_requested_host_without_headers_is_empty() -> None:
    assert requested_host(make_mocked_request("GET", "/"), 0) == ""
