"""Text from a client as the message that it publishes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.decoders import JSON_ENVELOPE, Message, max_json_bytes, message_from_json
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
