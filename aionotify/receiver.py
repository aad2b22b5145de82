"""The messages of WebSocket clients: published, or answered with the reason why not."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aionotify.decoders import FRAME_MEMBERS, Message, message_from_json, token_from_json
from aionotify.encoders import compact_json, to_rfc3339
from aionotify.errors import (
    EmptyMessage,
    InvalidRequest,
    InvalidToken,
    KeyReused,
    MessageTooBig,
    PublishForbidden,
    Unavailable,
)
from aionotify.expiry import ExpiringWebSocket
from aionotify.frames import CloseCode
from aionotify.grants import Grant
from aionotify.idempotency import Idempotency, Scope, fingerprint_of, keyed
from aionotify.notification import Notification
from aionotify.notifier import Notifier
from aionotify.text import shorten
from aionotify.websocket import WebSocketSubscriber

ADMIN_PREFIX = "admin:"
"""Lets a user publish as long as publishing needs no token, as in the FastAPI version."""


REFUSAL = "You are not authorized to send notifications."

Verify = Callable[[str], Awaitable[Grant]]
"""Returns what a JWT allows. Raises InvalidToken, or Unavailable without keys."""


class Receiver:
    """Publishes the messages of all WebSocket clients of an application.

    Its methods are the `receive` of subscribers. One object serves all of them: a closure for
    each client would take 240 bytes in place of 64, of the 1.75 KiB that an idle client has.
    """

    def __init__(
        self,
        notifier: Notifier,
        idempotency: Idempotency,
        verify: Verify,
        *,
        publish_is_open: bool,
    ) -> None:
        """Create a receiver; unless `publish_is_open`, only admins may publish.

        `verify` is for clients that renew their tokens.
        """
        self._notifier = notifier
        self._idempotency = idempotency
        self._verify = verify
        self._publish_is_open = publish_is_open

    async def receive_text(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """Publish `text`, or reply with the reason why not. The replies are part of layer 1."""
        try:
            await self._publish(subscriber, Message(text))
        except (PublishForbidden, EmptyMessage, Unavailable) as error:
            subscriber.reply(str(error))
        except MessageTooBig as error:
            subscriber.close(CloseCode.MESSAGE_TOO_BIG, str(error))

    async def receive_json(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """Publish the message in a JSON object; reply with an object: `accepted` or `error`.

        A client whose token expires may send a new one; the reply is `authorized` or `error`.
        """
        if isinstance(subscriber, ExpiringWebSocket) and (token := token_from_json(text)):
            subscriber.reply(compact_json(await self._renew(subscriber, token)).decode())
            return
        try:
            notification = await self._publish(subscriber, message_from_json(text, FRAME_MEMBERS))
        except (PublishForbidden, InvalidRequest, KeyReused, Unavailable) as error:
            document = _error(str(error))
        except MessageTooBig as error:
            subscriber.close(CloseCode.MESSAGE_TOO_BIG, str(error))
            return
        else:
            document = {"type": "accepted", "id": str(notification.id)}
        subscriber.reply(compact_json(document).decode())

    async def _publish(self, subscriber: WebSocketSubscriber, message: Message) -> Notification:
        # With an admin token configured, the prefix must not be a way around it.
        prefixed = message.text.startswith(ADMIN_PREFIX) and self._publish_is_open
        if not subscriber.admin and not prefixed:
            raise PublishForbidden(REFUSAL)
        # One leading prefix goes, of admins too; the FastAPI version deleted every `admin:`, and so
        # corrupted messages about it.
        text = message.text.removeprefix(ADMIN_PREFIX)
        topic = _topic_of(message, subscriber.topic.names)
        if not prefixed and not subscriber.may_publish(topic):
            raise PublishForbidden(REFUSAL)
        if message.key is None:
            return await self._notifier.publish(text, topic, message.fields)
        draft = self._notifier.draft(text, topic, message.fields)
        scope = Scope(subscriber.sender or b"", (topic,), message.key)
        publish = partial(self._notifier.publish_all, keyed([draft], scope))
        return (await self._idempotency.once(scope, fingerprint_of(draft), publish))[0]

    async def _renew(self, subscriber: ExpiringWebSocket, token: str) -> dict[str, str]:
        """Replace the client's token if the new one allows at least its subscription.

        Return the reply. After an error the old token stays, and so does its end.
        """
        try:
            grant = await self._verify(token)
        except Unavailable as error:
            return _error(str(error))
        except InvalidToken as error:
            line = f"rejected a new token of client {subscriber.peer}: {error}"
            subscriber.topic.stats.incidents.report("renewal", line, lines=1)
            return _error("The token is invalid or has expired.")
        if grant.subject != subscriber.grant.subject:
            return _error("The token is for another subject (expected the same sub as before).")
        missing = [each for each in subscriber.topic.names if not grant.may_subscribe(each)]
        if missing:
            scope = " ".join(f"subscribe:{each}" for each in missing)
            return _error(f"The token lacks the scope {scope!r} (expected all topics of before).")
        assert grant.expires is not None
        subscriber.renew(grant)
        return {"type": "authorized", "expires": to_rfc3339(grant.expires)}


def _topic_of(message: Message, names: Sequence[str]) -> str:
    """Return the topic that `message` is for, one of the `names` that its client subscribes to."""
    topic = message.topic
    if topic is None and len(names) == 1:
        return names[0]
    if topic is not None and topic in names:
        return topic
    found = "missing" if topic is None else f"invalid value {topic!r}"
    expected = "a topic to which this connection subscribes"
    raise InvalidRequest(f"topic: {found} (expected {expected}: {shorten(', '.join(names))})")


def _error(detail: str) -> dict[str, str]:
    return {"type": "error", "detail": detail}
