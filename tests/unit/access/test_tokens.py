"""Tokens: found wherever a request may carry them, and accepted only as a whole."""

import hmac

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from aionotify.access.tokens import TOKEN_HINT, digest, find_digest, subprotocols, tokens_of
from tests.support.access import ADMIN, OLD_ADMIN, USER, WRONG, with_token

TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def carries(request: web.Request, *tokens: str) -> bool:
    """Return whether `request` carries one of `tokens`."""
    digests = [digest(each) for each in tokens]
    return find_digest(tokens_of(request, with_cookie=True), digests) in digests


def request_with(place: str, token: str) -> web.Request:
    """Return a request that carries `token` in `place`."""
    target, headers = with_token(place, token, "/ws")
    return make_mocked_request("GET", target, headers=headers)


@pytest.mark.parametrize("place", ["header", "query", "subprotocol", "cookie"])
def test_token_is_found_in_every_place(place: str) -> None:
    request = request_with(place, ADMIN)
    assert carries(request, ADMIN)
    assert carries(request, USER, ADMIN)
    assert not carries(request, USER)
    assert not carries(request)


def test_request_without_token_has_none() -> None:
    assert not carries(make_mocked_request("GET", "/"), ADMIN)
    assert not carries(request_with("header", ""), ADMIN)


@given(token=TOKENS, other=TOKENS)
def test_only_the_same_token_is_accepted(token: str, other: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    assert carries(request, other) == (token == other)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_bearer_scheme_ignores_case(scheme: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Authorization": scheme + ADMIN})
    assert carries(request, ADMIN)


@pytest.mark.parametrize("authorization", [ADMIN, f"Basic {ADMIN}", f"Bearer{ADMIN}", "Bearer"])
def test_other_schemes_are_ignored(authorization: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Authorization": authorization})
    assert not carries(request, ADMIN)


def test_last_query_parameter_counts() -> None:
    """As in the FastAPI version, for all parameters."""
    assert carries(make_mocked_request("GET", f"/?token={WRONG}&token={USER}"), USER)
    assert not carries(make_mocked_request("GET", f"/?token={USER}&token={WRONG}"), USER)


def test_plus_in_query_needs_no_escape() -> None:
    """`+` means a space in a query, and no token has a space."""
    token = "base64+token+16/"
    for written in (token, token.replace("+", "%2B"), token.replace("+", "%20")):
        request = make_mocked_request("GET", f"/?token={written}")
        assert carries(request, token)


def test_wrong_token_does_not_hide_valid_one() -> None:
    headers = {"Authorization": f"Bearer {WRONG}", "Sec-WebSocket-Protocol": f"token.{USER}"}
    assert carries(make_mocked_request("GET", "/", headers=headers), USER)


def test_every_digest_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of comparisons must not depend on a match: it would show in the time."""
    compared: list[bytes] = []

    def compare(known: bytes, presented: bytes) -> bool:
        compared.append(known)
        return known == presented

    monkeypatch.setattr(hmac, "compare_digest", compare)
    digests = [digest(ADMIN), digest(OLD_ADMIN), digest(USER)]
    for token in (ADMIN, USER, WRONG):
        compared.clear()
        find_digest([token], digests)
        assert compared == digests


@given(token=st.text(st.characters()))
def test_digest_accepts_every_string(token: str) -> None:
    """Including lone surrogates, which aiohttp makes of bytes that are not UTF-8."""
    assert len(digest(token)) == 32


def test_digest_of_lone_surrogate_differs_from_its_bytes() -> None:
    assert digest("\udcff") != digest("\xff")


def test_cookie_is_left_out() -> None:
    request = request_with("cookie", ADMIN)
    assert tokens_of(request, with_cookie=True) == [ADMIN]
    assert tokens_of(request, with_cookie=False) == []


def test_each_place_carries_one_token() -> None:
    """Otherwise, a request could have the server verify a hundred JWTs."""
    headers = {
        "Authorization": "Bearer a",
        "Sec-WebSocket-Protocol": ", ".join(f"token.{number}" for number in range(100)),
        "Cookie": "aionotify_token=c; aionotify_token=d",
    }
    request = make_mocked_request("GET", "/?token=x&token=q", headers=headers)
    assert tokens_of(request, with_cookie=True) == ["a", "q", "0", "d"]


def test_subprotocols_keep_their_order() -> None:
    headers = {"Sec-WebSocket-Protocol": f"chat, aionotify,token.{USER}"}
    request = make_mocked_request("GET", "/ws", headers=headers)
    assert subprotocols(request) == ["chat", "aionotify", f"token.{USER}"]
    assert subprotocols(make_mocked_request("GET", "/ws")) == []


def test_hint_names_every_place() -> None:
    for place in (
        "Authorization: Bearer <token>",
        "?token=<token>",
        "token.<token>",
        "aionotify_token",
    ):
        assert place in TOKEN_HINT
