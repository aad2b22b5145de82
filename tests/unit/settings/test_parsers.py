"""Parsers: what they accept, and the sentence that says so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.net import ANY_ORIGIN, NULL_ORIGIN, Address, Origin
from aionotify.settings.parsers import (
    ADDRESSES,
    HOSTS,
    ORIGINS,
    PORT,
    TOKENS,
    Parser,
    choice,
    comma_separated,
    integer,
)

PRINTABLE = [chr(code) for code in range(33, 127) if chr(code) != ","]


def rejects(parser: Parser[Any], text: str) -> bool:
    """Return whether `parser` raises ValueError for `text`."""
    try:
        parser.parse(text)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("parser", "expected"),
    [
        (integer(0, 10), "a whole number from 0 to 10"),
        (integer(0, 65535, unit="a port"), "a port from 0 to 65535"),
        (integer(1, 9, unit="bytes", note="few"), "bytes from 1 to 9 (few)"),
        (choice("text", "json"), "text or json"),
        (choice("a", "b", "c"), "a, b or c"),
    ],
)
def test_parser_says_what_it_expects(parser: Parser[Any], expected: str) -> None:
    assert parser.expected == expected


@given(low=st.integers(0, 100), size=st.integers(0, 100), number=st.integers(-10, 300))
def test_integer_accepts_its_range(low: int, size: int, number: int) -> None:
    parser = integer(low, low + size)
    if low <= number <= low + size:
        assert parser.parse(str(number)) == number
    else:
        assert rejects(parser, str(number))


@pytest.mark.parametrize("text", ["", "1_0", "+5", "-0", " 5", "5 ", "²", "٣", "1.0", "0" * 20])
def test_integer_accepts_ascii_digits_only(text: str) -> None:
    assert rejects(integer(0, 100), text)


def test_choice_ignores_case() -> None:
    parser = choice("text", "json")
    assert parser.parse("JSON") == "json"
    assert rejects(parser, "jsonl")


@given(st.lists(st.integers(0, 9), min_size=1), st.sampled_from(["", " ", "\t"]))
def test_comma_separated_values_are_stripped(numbers: list[int], space: str) -> None:
    parser = comma_separated(int, "numbers")
    text = f"{space},{space}".join(map(str, numbers))
    assert parser.parse(text) == tuple(numbers)


@pytest.mark.parametrize("parser", [ADDRESSES, ORIGINS, TOKENS], ids=["hosts", "origins", "tokens"])
@pytest.mark.parametrize("text", ["", ",", " , "])
def test_comma_separated_values_are_not_empty(parser: Parser[Any], text: str) -> None:
    assert rejects(parser, text)


def test_host_fails_before_lookup() -> None:
    """Names that `socket.getaddrinfo` cannot encode are rejected with the settings."""
    assert HOSTS.parse("bücher.example") == "bücher.example"
    for text in ("", "a..b", "x" * 64, "a:80 ", "http://a"):
        assert rejects(HOSTS, text), text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a", Address("a", 0)),
        ("a:1", Address("a", 1)),
        ("::1", Address("::1", 0)),
        ("[::1]", Address("::1", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_address_has_optional_port(text: str, address: Address) -> None:
    assert ADDRESSES.parse(text) == (address,)


def test_port_of_address_is_not_zero() -> None:
    """0 stands for a missing port, so it cannot be written."""
    assert rejects(PORT, "0")
    assert rejects(ADDRESSES, "a:0")


def test_wildcard_is_an_origin() -> None:
    assert ORIGINS.parse("*") == (ANY_ORIGIN,)
    assert rejects(ORIGINS, "https://*")


def test_origins_without_host_can_be_listed() -> None:
    assert ORIGINS.parse("null, file://") == (NULL_ORIGIN, Origin("file", "", 0))


@pytest.mark.parametrize("end", ["é", " x", "\0"])
def test_token_is_checked_to_its_end(end: str) -> None:
    assert rejects(TOKENS, "a" * 16 + end)


@given(st.text(st.sampled_from(PRINTABLE), min_size=16, max_size=64))
def test_token_is_any_printable_ascii(token: str) -> None:
    assert TOKENS.parse(token) == (token,)


@given(st.text(st.sampled_from([*"abc!~,, \n\té"]), max_size=80))
def test_token_is_long_and_printable_ascii(text: str) -> None:
    parts = [part.strip() for part in text.split(",")]
    valid = all(len(part) >= 16 and set(part) <= set(PRINTABLE) for part in parts)
    assert rejects(TOKENS, text) is not valid
