"""The messages of WebSocket clients: published, or answered with the reason why not."""

import json
import logging

import pytest

from aionotify.encoders import JSON, TEXT, to_rfc3339
from aionotify.errors import EmptyMessage, InvalidToken, MessageTooBig, Unavailable
from aionotify.expiry import ExpiringWebSocket, Expiry
from aionotify.fields import Fields
from aionotify.grants import Grant
from aionotify.idempotency import Idempotency
from aionotify.notification import Notification
from aionotify.receiver import Receiver, Verify
from aionotify.stats import RejectReason
from aionotify.websocket import WebSocketSubscriber
from tests.support.builders import NOW, FakeFeed, new_topic
from tests.support.transport import FakeTransport

REFUSAL = "You are not authorized to send notifications."
EMPTY = "Empty notifications are not sent."
AWAY = "Nothing was stored."
TOO_BIG = "The message has 11 bytes; the limit is 10."


async def no_jwts(token: str) -> Grant:
    """Verify the tokens of a server without keys."""
    raise InvalidToken("no keys")


class RecordingNotifier:
    """Replaces the notifier: records the messages, and raises the errors of the real one."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []
        self.fields: list[bytes] = []

    async def publish(self, text: str, name: str, fields: Fields) -> Notification:
        if not text.strip():
            raise EmptyMessage(EMPTY)
        if text == "away":
            raise Unavailable(AWAY, RejectReason.NATS)
        if len(text) > 10:
            raise MessageTooBig(TOO_BIG)
        self.published.append((text, name))
        self.fields.append(fields.encoded)
        return Notification(id=len(self.published), time=0, message=text, topic=name)


class RecordingSubscriber(WebSocketSubscriber):
    """Records replies and closes in place of sending them."""

    __slots__ = ("closed", "replies")

    def __init__(self, receiver: Receiver, *, admin: bool) -> None:
        self.replies: list[str] = []
        self.closed: list[tuple[int, str]] = []
        super().__init__(TEXT, 30, admin=admin, limit=100, receive=receiver.receive_text)
        self.topic = FakeFeed("news")

    def reply(self, text: str) -> None:
        self.replies.append(text)

    def close(self, code: int, reason: str = "", timeout: float = 5) -> None:
        self.closed.append((code, reason))


@pytest.fixture
def notifier() -> RecordingNotifier:
    """A notifier that accepts messages of up to 10 characters."""
    return RecordingNotifier()


def receiver_for(
    notifier: RecordingNotifier, verify: Verify = no_jwts, *, publish_is_open: bool = True
) -> Receiver:
    """Return a receiver that publishes to `notifier`."""
    return Receiver(
        notifier,  # type: ignore[arg-type]
        Idempotency(),
        verify,
        publish_is_open=publish_is_open,
    )


CASES: dict[str, tuple[bool, bool, str, str | None]] = {
    # admin, publish_is_open, text: the message published, or None
    "admin": (True, True, "Hello", "Hello"),
    "admin with prefix": (True, True, "admin:Hello", "Hello"),
    "admin with two prefixes": (True, True, "admin:admin:x", "admin:x"),
    "admin with token": (True, False, "Hello", "Hello"),
    "user": (False, True, "Hello", None),
    "user with prefix": (False, True, "admin:Hello", "Hello"),
    "user with late prefix": (False, True, " admin:x", None),
    "user with capital": (False, True, "Admin:x", None),
    "user with prefix and tokens": (False, False, "admin:Hello", None),
}


@pytest.mark.parametrize(("admin", "is_open", "text", "message"), CASES.values(), ids=CASES)
async def test_prefix_and_role_decide(
    notifier: RecordingNotifier, admin: bool, is_open: bool, text: str, message: str | None
) -> None:
    receiver = receiver_for(notifier, publish_is_open=is_open)
    subscriber = RecordingSubscriber(receiver, admin=admin)
    await receiver.receive_text(subscriber, text)
    assert notifier.published == ([] if message is None else [(message, "news")])
    assert subscriber.replies == ([REFUSAL] if message is None else [])


async def test_empty_text_gets_reply(notifier: RecordingNotifier) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=True)
    await receiver.receive_text(subscriber, "admin: ")
    assert (subscriber.replies, notifier.published) == ([EMPTY], [])


async def test_unavailable_cluster_gets_reply(notifier: RecordingNotifier) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=True)
    await receiver.receive_text(subscriber, "away")
    await receiver.receive_json(subscriber, '{"message":"away"}')
    assert subscriber.replies == [AWAY, f'{{"type":"error","detail":"{AWAY}"}}']


@pytest.mark.parametrize("text", ["x" * 11, '{"message":"xxxxxxxxxxx"}'], ids=["text", "json"])
async def test_too_big_message_closes(notifier: RecordingNotifier, text: str) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=True)
    receive = receiver.receive_json if text.startswith("{") else receiver.receive_text
    await receive(subscriber, text)
    assert subscriber.closed == [(1009, TOO_BIG)]
    assert subscriber.replies == []


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ('{"message":"Hello"}', '{"type":"accepted","id":"1"}'),
        ('{"message":" "}', '{"type":"error","detail":"Empty notifications are not sent."}'),
        (
            "Hello",
            '{"type":"error","detail":"Expected JSON like {\\"message\\":\\"Hello\\"}, '
            'with valid Unicode."}',
        ),
    ],
)
async def test_json_gets_json_reply(notifier: RecordingNotifier, text: str, reply: str) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=True)
    await receiver.receive_json(subscriber, text)
    assert subscriber.replies == [reply]


async def test_json_has_fields(notifier: RecordingNotifier) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=True)
    await receiver.receive_json(subscriber, '{"message":"Hello","tag":"t","url":"/x"}')
    await receiver.receive_json(subscriber, '{"message":"Hello","url":"//x"}')
    assert notifier.fields == [b',"url":"/x","tag":"t"']
    accepted, error = subscriber.replies
    assert accepted == '{"type":"accepted","id":"1"}'
    assert error.startswith('{"type":"error","detail":"url: invalid value \'//x\' (expected ')


async def test_json_of_user_is_refused(notifier: RecordingNotifier) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=False)
    await receiver.receive_json(subscriber, '{"message":"Hello"}')
    assert subscriber.replies == [f'{{"type":"error","detail":"{REFUSAL}"}}']


# ------------------------------------------------------------------------------------ new tokens


def grant(scope: str = "subscribe:main", subject: str | None = "42", end: int = 60) -> Grant:
    """Return the grant of a token."""
    return Grant.from_scope(scope, subject, int(NOW) + end)


class RecordingExpiring(ExpiringWebSocket):
    """Records replies in place of sending them; its token ends in a minute."""

    __slots__ = ("replies",)

    def __init__(self, receiver: Receiver, granted: Grant) -> None:
        super().__init__(
            *(granted, Expiry(), JSON, 30),
            admin=True,
            limit=100,
            receive=receiver.receive_json,
        )
        self.replies: list[str] = []
        FakeTransport(self)
        new_topic().subscribe(self)

    def reply(self, text: str) -> None:
        self.replies.append(text)


VALID = {
    "later": grant(end=3600),
    "sooner": grant(end=30),
    "wider": grant("subscribe:* publish:main"),
    "other subject": grant(subject="43"),
    "no subject": grant(subject=None),
    "other topic": grant("subscribe:mai"),
    "nothing": grant("openid"),
}
LACKING = "The token lacks the scope 'subscribe:main' (expected all topics of before)."
OTHER = "The token is for another subject (expected the same sub as before)."


async def verify(token: str) -> Grant:
    """Return the grant of that name."""
    if token == "no keys":
        raise Unavailable("The keys cannot be fetched.", RejectReason.KEYS)
    if token not in VALID:
        raise InvalidToken("it expired 5 minutes ago")
    return VALID[token]


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        ("later", None),
        ("sooner", None),
        ("wider", None),
        ("other subject", OTHER),
        ("no subject", OTHER),
        ("other topic", LACKING),
        ("nothing", LACKING),
        ("expired", "The token is invalid or has expired."),
        ("no keys", "The keys cannot be fetched."),
    ],
)
async def test_new_token_needs_subject_and_topics(
    notifier: RecordingNotifier, token: str, detail: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    receiver = receiver_for(notifier, verify, publish_is_open=False)
    first = grant()
    subscriber = RecordingExpiring(receiver, first)
    await receiver.receive_json(subscriber, json.dumps({"token": token}))
    (reply,) = map(json.loads, subscriber.replies)
    if detail is None:
        end = to_rfc3339(VALID[token].expires or 0)
        assert reply == {"type": "authorized", "expires": end}
        assert subscriber.grant is VALID[token]
    else:
        assert reply == {"type": "error", "detail": detail}
        assert subscriber.grant is first
    told = "rejected a new token of client 192.0.2.1:4711: it expired 5 minutes ago"
    assert caplog.messages == ([told] if token == "expired" else [])
    subscriber.transport.abort()


async def test_new_token_decides_about_publishing(notifier: RecordingNotifier) -> None:
    receiver = receiver_for(notifier, verify, publish_is_open=False)
    subscriber = RecordingExpiring(receiver, grant())
    for text in ('{"message":"1"}', '{"token":"wider"}', '{"message":"2"}', '{"token":"later"}'):
        await receiver.receive_json(subscriber, text)
    await receiver.receive_json(subscriber, '{"message":"3"}')
    kinds = [json.loads(each)["type"] for each in subscriber.replies]
    assert kinds == ["error", "authorized", "accepted", "authorized", "error"]
    assert notifier.published == [("2", "main")]
    subscriber.transport.abort()


async def test_client_without_jwt_has_no_token_to_renew(notifier: RecordingNotifier) -> None:
    receiver = receiver_for(notifier)
    subscriber = RecordingSubscriber(receiver, admin=True)
    await receiver.receive_json(subscriber, '{"token":"later"}')
    (reply,) = subscriber.replies
    assert json.loads(reply)["type"] == "error"
    assert notifier.published == []
