"""Text from a client as the message that it publishes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.decoders import (
    FRAME_MEMBERS,
    JSON_ENVELOPE,
    LINE_MEMBERS,
    Message,
    lines_of,
    max_json_bytes,
    message_from_json,
    token_from_json,
)
from aionotify.errors import InvalidRequest
from aionotify.fields import Fields


@given(st.text(st.characters(codec="utf-8")))
def test_every_message_survives_json(message: str) -> None:
    assert message_from_json(json.dumps({"message": message})) == Message(message)
    assert message_from_json(json.dumps({"message": message}, ensure_ascii=False)).text == message


@given(st.text(st.characters(codec="utf-8")))
def test_limit_suffices_for_every_message(message: str) -> None:
    """However a client escapes it, a message within its limit is read completely."""
    escaped = "".join(f"\\u{unit:04x}" for unit in _utf_16_units(message))
    document = '{"message":"%s"}' % escaped  # noqa: UP031
    assert message_from_json(document).text == message
    assert len(document) <= max_json_bytes(len(message.encode()))


def test_envelope_is_allowed_beyond_message() -> None:
    assert max_json_bytes(0) == JSON_ENVELOPE


def test_fields_belong_to_the_message() -> None:
    text = '{"message":"Hello","data":null,"title":"T"}'
    fields = Fields(b',"title":"T","data":null', 5)
    assert message_from_json(text) == Message("Hello", fields)


def test_lines_are_numbered_and_empty_ones_skipped() -> None:
    assert list(lines_of("")) == list(lines_of("\r\n \t\n")) == []
    assert list(lines_of("a")) == [(1, "a")]
    assert list(lines_of('\n a\r\n\r\n"b\u2028c\x85d\x0c"\n\n\nd ')) == [
        (2, "a\r"),
        (4, '"b\u2028c\x85d\x0c"'),
        (7, "d "),
    ]


@given(st.lists(st.sampled_from(["", "a", "{}", " ", "\t", "\r"])))
def test_lines_are_those_of_split(lines: list[str]) -> None:
    numbered = enumerate("\n".join(lines).split("\n"), 1)
    expected = [(number, each) for number, each in numbered if each.strip(" \t\r")]
    assert [
        (number, each.strip(" \t\r")) for number, each in lines_of("\n".join(lines))
    ] == expected


def test_line_may_name_a_topic() -> None:
    text = '{"message":"Hello","topic":"a.b"}'
    assert message_from_json(text, LINE_MEMBERS) == Message("Hello", topic="a.b")
    for name, shown in (('"a b"', "'a b'"), ("5", "'int'"), ("null", "'NoneType'"), ('""', "''")):
        with pytest.raises(InvalidRequest, match=rf"^topic: invalid value {shown} \(expected 1 to"):
            message_from_json(f'{{"message":"Hello","topic":{name}}}', LINE_MEMBERS)


def test_frame_may_have_a_key() -> None:
    text = '{"message":"Hello","key":"a \\"b\\""}'
    assert message_from_json(text, FRAME_MEMBERS) == Message("Hello", key='a "b"')
    for key, shown in (('""', "''"), ("5", "'int'"), ('"é"', "'é'"), ("null", "'NoneType'")):
        with pytest.raises(InvalidRequest, match=rf"^key: invalid value {shown} \(expected 1 to 1"):
            message_from_json(f'{{"message":"Hello","key":{key}}}', FRAME_MEMBERS)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "{", "[]", "5", "null", "{}", '"message"', '{"message":null}', '{"message":1}'),
        *('{"message":["x"]}', '{"message":"\\ud800"}', "[" * 100_000, '{"message":"a\nb"}'),
    ],
    ids=lambda text: text[:20],
)
def test_other_json_is_invalid(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r'^Expected JSON like \{"message":"Hello"\}, with '):
        message_from_json(text)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"priority": 5}, "'priority': unknown member (expected message, title, url, tag, data)"),
        ({"topic": "x"}, "'topic': unknown member (expected in the URL, as ?topic=NAME)"),
        ({"key": "x"}, "'key': unknown member (expected in the header Idempotency-Key)"),
        ({"b": 1, "a": 2}, "'a': unknown member (expected message, title, url, tag, data)"),
        (
            {"x" * 200: 1},
            f"'{'x' * 100}…': unknown member (expected message, title, url, tag, data)",
        ),
        ({"\ud800": 1}, r"'\ud800': unknown member (expected message, title, url, tag, data)"),
    ],
)
def test_unknown_member_is_named(document: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        message_from_json(json.dumps({"message": "Hello", **document}))
    assert str(caught.value) == sentence
    assert str(caught.value).encode()


def _utf_16_units(text: str) -> list[int]:
    encoded = text.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ('{"token":"a.b.c"}', "a.b.c"),
        (' { "token" : "a" } ', "a"),
        ('{"token":1}', None),
        ('{"token":null}', None),
        ('{"token":"a","message":"Hello"}', None),
        ('{"message":"token"}', None),
        ('["token"]', None),
        ('"token"', None),
        ("token", None),
        ("[" * 100_000, None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_token_is_the_only_member(text: str, token: str | None) -> None:
    assert token_from_json(text) == token
