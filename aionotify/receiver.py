"""The messages of WebSocket clients: published, or answered with the reason why not."""

from collections.abc import Sequence
from functools import partial

from aionotify.decoders import FRAME_MEMBERS, Message, message_from_json
from aionotify.encoders import compact_json
from aionotify.errors import (
    EmptyMessage,
    InvalidRequest,
    KeyReused,
    MessageTooBig,
    PublishForbidden,
)
from aionotify.frames import CloseCode
from aionotify.idempotency import Idempotency, Scope, fingerprint_of
from aionotify.notification import Notification
from aionotify.notifier import Notifier
from aionotify.text import shorten
from aionotify.websocket import WebSocketSubscriber

ADMIN_PREFIX = "admin:"
"""Lets a user publish as long as publishing needs no token, as in the FastAPI version."""


class Receiver:
    """Publishes the messages of all WebSocket clients of an application.

    Its methods are the `receive` of subscribers. One object serves all of them: a closure for
    each client would take 240 bytes in place of 64, of the 1.75 KiB that an idle client has.
    """

    def __init__(
        self, notifier: Notifier, idempotency: Idempotency, *, publish_is_open: bool
    ) -> None:
        """Create a receiver; unless `publish_is_open`, only admins may publish."""
        self._notifier = notifier
        self._idempotency = idempotency
        self._publish_is_open = publish_is_open

    async def receive_text(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """Publish `text`, or reply with the reason why not. The replies are part of layer 1."""
        try:
            await self._publish(subscriber, Message(text))
        except (PublishForbidden, EmptyMessage) as error:
            subscriber.reply(str(error))
        except MessageTooBig as error:
            subscriber.close(CloseCode.MESSAGE_TOO_BIG, str(error))

    async def receive_json(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """Publish the message in a JSON object; reply with an object: `accepted` or `error`."""
        try:
            notification = await self._publish(subscriber, message_from_json(text, FRAME_MEMBERS))
        except (PublishForbidden, InvalidRequest, KeyReused) as error:
            document = {"type": "error", "detail": str(error)}
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
            raise PublishForbidden("You are not authorized to send notifications.")
        # One leading prefix goes, of admins too; the FastAPI version deleted every `admin:`, and so
        # corrupted messages about it.
        text = message.text.removeprefix(ADMIN_PREFIX)
        topic = _topic_of(message, subscriber.topic.names)
        if message.key is None:
            return await self._notifier.publish(text, topic, message.fields)
        draft = self._notifier.draft(text, topic, message.fields)
        scope = Scope(subscriber.sender or b"", (topic,), message.key)
        publish = partial(self._notifier.publish_all, [draft])
        return (await self._idempotency.once(scope, fingerprint_of(draft), publish))[0]


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
