"""The optional fields: checked, and encoded once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.errors import InvalidRequest
from aionotify.fields import FIELDS, MAX_DEPTH, MAX_TITLE, MAX_URL, NO_FIELDS, parse_fields

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
VALID = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXT,
        "url": st.sampled_from(["https://example.com/é?x#y", "/", "/inbox?a=b"]),
        "tag": st.text("abcXYZ019_.-", min_size=1, max_size=64),
        "data": DATA,
    },
)


@given(VALID)
def test_fields_are_encoded_in_order(document: dict[str, Any]) -> None:
    """They are what json.dumps makes of them, and count as many bytes as they have in UTF-8."""
    fields = parse_fields(document)
    ordered = {name: document[name] for name in FIELDS if name in document}
    compact = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
    assert (b"{" + fields.encoded[1:] + b"}").decode() == compact
    texts = [document.get(name, "") for name in FIELDS[:3]]
    if "data" in document:
        texts.append(json.dumps(document["data"], ensure_ascii=False, separators=(",", ":")))
    assert fields.size == sum(len(each.encode()) for each in texts)


def test_no_field_is_no_bytes() -> None:
    assert parse_fields({"message": "Hello"}) is NO_FIELDS


def test_null_data_is_not_absent() -> None:
    assert parse_fields({"data": None}).encoded == b',"data":null'


def test_large_integers_are_exact() -> None:
    document = json.loads('{"data":{"a":%d,"a":%d}}' % (2**80, 10**300))  # noqa: UP031
    assert parse_fields(document).encoded == b',"data":{"a":1%b}' % (b"0" * 300)


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com", "HTTP://EXAMPLE.com:8080/x?y=z#é", "http://[::1]/", "/", "/a//b"),
        *("/?x", "/#x", "https://user@host/%20", "/" + "x" * (MAX_URL - 1)),
    ],
)
def test_link_is_a_url(url: str) -> None:
    assert json.loads(b"{" + parse_fields({"url": url}).encoded[1:] + b"}") == {"url": url}


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\tscript:x"),
        *("java\nscript:alert(1)", "\x01javascript:alert(1)", "javascript&colon;x", "\0/x"),
        *(
            "data:text/html,x",
            "vbscript:x",
            "ftp://x",
            "file:///etc/passwd",
            "mailto:a@b",
            "blob:x",
        ),
        *("//host", "/\\host", "/\t/host", "\\\\host", "\\/host", "/\n/host", " /x", "/x ", "/a b"),
        *(
            "http:/x",
            "http:x",
            "https://",
            "https:///x",
            "https://?x",
            "https:\\\\host",
            "http://\\",
        ),
        *("", "x", "?x", "#x", "./x", "/x\x7f", "/x\x85", "/x\u2028", "/\ud800", "/\r\n"),
        "/" + "x" * MAX_URL,
    ],
)
def test_other_links_are_invalid(url: str) -> None:
    """Neither scripts nor disguised ones, and no other host that looks like a path."""
    with pytest.raises(InvalidRequest, match=r"^url: invalid value '.*' \(expected http://…, "):
        parse_fields({"url": url})


def nested(depth: int) -> Any:
    """Return `depth` arrays and objects inside of each other."""
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"a": value, "b": 1}
    return value


def test_depth_is_bounded() -> None:
    parse_fields({"data": nested(MAX_DEPTH)})
    with pytest.raises(InvalidRequest, match="up to 64 nested arrays"):
        parse_fields({"data": nested(MAX_DEPTH + 1)})


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ('{"title":5}', "title: invalid type int (expected Unicode text of up to 256 characters)"),
        ('{"title":null}', "title: invalid type NoneType (expected "),
        ('{"title":"\\ud800"}', "title: invalid value '\\ud800' (expected Unicode text "),
        ('{"url":["/"]}', "url: invalid type list (expected http://…"),
        ('{"tag":""}', "tag: invalid value '' (expected 1 to 64 letters, "),
        ('{"tag":"a b"}', "tag: invalid value 'a b' (expected "),
        ('{"tag":"é"}', "tag: invalid value 'é' (expected "),
        ('{"tag":true}', "tag: invalid type bool (expected "),
        ('{"data":NaN}', "data: invalid value (expected finite numbers, "),
        ('{"data":[-Infinity]}', "data: invalid value (expected finite numbers, "),
        ('{"data":{"a":1e999}}', "data: invalid value (expected finite numbers, "),
        ('{"data":"\\udfff"}', "data: invalid value '\\udfff' (expected finite numbers, "),
        ('{"data":[{"\\ud800":1}]}', "data: invalid value (expected finite numbers, "),
    ],
)
def test_error_names_the_field(document: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_fields(json.loads(document))
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).encode()


def test_title_is_bounded_in_characters() -> None:
    assert parse_fields({"title": "é" * MAX_TITLE}).size == 2 * MAX_TITLE
    with pytest.raises(InvalidRequest, match=r"^title: invalid value 'é{100}…' \(expected "):
        parse_fields({"title": "é" * (MAX_TITLE + 1)})
