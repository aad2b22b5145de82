"""Tokens: found wherever a request may carry them, and accepted only as a whole."""

import hmac

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from aionotify.access.tokens import TOKEN_HINT, digest, has_token, subprotocols
from tests.support.access import ADMIN, OLD_ADMIN, USER, WRONG, with_token

TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def request_with(place: str, token: str) -> web.Request:
    """Return a request that carries `token` in `place`."""
    target, headers = with_token(place, token, "/ws")
    return make_mocked_request("GET", target, headers=headers)


@pytest.mark.parametrize("place", ["header", "query", "subprotocol"])
def test_token_is_found_in_every_place(place: str) -> None:
    request = request_with(place, ADMIN)
    assert has_token(request, [digest(ADMIN)])
    assert has_token(request, [digest(USER), digest(ADMIN)])
    assert not has_token(request, [digest(USER)])
    assert not has_token(request, [])


def test_request_without_token_has_none() -> None:
    assert not has_token(make_mocked_request("GET", "/"), [digest(ADMIN)])
    assert not has_token(request_with("header", ""), [digest(ADMIN)])


@given(token=TOKENS, other=TOKENS)
def test_only_the_same_token_is_accepted(token: str, other: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    assert has_token(request, [digest(other)]) == (token == other)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_bearer_scheme_ignores_case(scheme: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Authorization": scheme + ADMIN})
    assert has_token(request, [digest(ADMIN)])


@pytest.mark.parametrize("authorization", [ADMIN, f"Basic {ADMIN}", f"Bearer{ADMIN}", "Bearer"])
def test_other_schemes_are_ignored(authorization: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Authorization": authorization})
    assert not has_token(request, [digest(ADMIN)])


def test_last_query_parameter_counts() -> None:
    """As in the FastAPI version, for all parameters."""
    assert has_token(make_mocked_request("GET", f"/?token={WRONG}&token={USER}"), [digest(USER)])
    assert not has_token(
        make_mocked_request("GET", f"/?token={USER}&token={WRONG}"), [digest(USER)]
    )


def test_plus_in_query_needs_no_escape() -> None:
    """`+` means a space in a query, and no token has a space."""
    token = "base64+token+16/"
    for written in (token, token.replace("+", "%2B"), token.replace("+", "%20")):
        request = make_mocked_request("GET", f"/?token={written}")
        assert has_token(request, [digest(token)])


def test_wrong_token_does_not_hide_valid_one() -> None:
    headers = {"Authorization": f"Bearer {WRONG}", "Sec-WebSocket-Protocol": f"token.{USER}"}
    assert has_token(make_mocked_request("GET", "/", headers=headers), [digest(USER)])


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
        has_token(request_with("header", token), digests)
        assert compared == digests


@given(token=st.text(st.characters()))
def test_digest_accepts_every_string(token: str) -> None:
    """Including lone surrogates, which aiohttp makes of bytes that are not UTF-8."""
    assert len(digest(token)) == 32


def test_digest_of_lone_surrogate_differs_from_its_bytes() -> None:
    assert digest("\udcff") != digest("\xff")


def test_subprotocols_keep_their_order() -> None:
    headers = {"Sec-WebSocket-Protocol": f"chat, aionotify,token.{USER}"}
    request = make_mocked_request("GET", "/ws", headers=headers)
    assert subprotocols(request) == ["chat", "aionotify", f"token.{USER}"]
    assert subprotocols(make_mocked_request("GET", "/ws")) == []


def test_hint_names_every_place() -> None:
    for place in ("Authorization: Bearer <token>", "?token=<token>", "aionotify, token.<token>"):
        assert place in TOKEN_HINT
