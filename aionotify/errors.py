"""The errors that aionotify raises. Each message names the problem and the expected input."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from aionotify.stats import RejectReason

RETRY_AFTER = "5"
"""Seconds after which a client may repeat a request that was answered with 429 or 503."""

MAX_NAMED_SCOPES = 10
"""Missing scopes that a response names: many clients accept 8 KiB of headers only."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class AionotifyError(Exception):
    """Base class of all errors that aionotify raises."""


class SettingsError(AionotifyError):
    """A setting is invalid. The message has the variable, the value and the expected format."""


class UsageError(AionotifyError):
    """A command is called with flags that do not fit together, or not the settings."""


class ListenError(AionotifyError):
    """The server cannot listen on an address."""


class PublishForbidden(AionotifyError):
    """A WebSocket client that may subscribe tried to publish."""


class InvalidToken(AionotifyError):
    """A JWT is not valid. The message says why, for the log: clients are not told."""


class ProtocolError(AionotifyError):
    """A WebSocket client violated RFC 6455. `code` is the status to close with (§7.4.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class CacheError(AionotifyError):
    """memcached did not answer, answered garbage, or rejected a value."""


class BrokerError(AionotifyError):
    """NATS did not answer, or answered with an error, whose `code` is 0 if it is unknown."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class NoAnswer(BrokerError):
    """NATS did not answer in time: it is not known whether the request had an effect."""


class RequestError(AionotifyError):
    """An error that is answered with an HTTP status; `http.responses` makes the response."""

    status: ClassVar[int]
    headers: Mapping[str, str] = _NO_HEADERS

    closes_connection: ClassVar[bool] = False
    """Whether the rest of the request may still be on its way, and is not worth reading."""


class InvalidRequest(RequestError):
    """A parameter, a header or a body is invalid."""

    status = 400


class EmptyMessage(InvalidRequest):
    """A message has nothing but white space."""


class RequestTimeout(RequestError):
    """A request body did not arrive in time."""

    status = 408
    closes_connection = True


class MessageTooBig(RequestError):
    """A message, with its fields, exceeds `AIONOTIFY_MAX_MESSAGE_BYTES`."""

    status = 413
    closes_connection = True


class UnsupportedMediaType(RequestError):
    """A body is in a format that cannot be published."""

    status = 415


class KeyReused(RequestError):
    """An idempotency key was used for another message before."""

    status = 422


class UpgradeRequired(RequestError):
    """A request for `/ws` is no WebSocket handshake."""

    status = 426
    headers = MappingProxyType({"Upgrade": "websocket"})


class UnsupportedVersion(UpgradeRequired):
    """A handshake has another version of the protocol; the headers name ours (RFC 6455 §4.4)."""

    headers = MappingProxyType({"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})


class Rejected(RequestError):
    """A valid request that is rejected. `reason` is counted in the metrics."""

    def __init__(self, message: str, reason: RejectReason) -> None:
        super().__init__(message)
        self.reason = reason


class Unauthorized(Rejected):
    """The request needs a token, and has none or an invalid one."""

    status = 401
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})

    cause = "no valid token"
    """The reason for the log."""


class BadToken(Unauthorized):
    """The request has tokens, and none of them is valid (RFC 6750 §3.1)."""

    headers = MappingProxyType({"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message, RejectReason.TOKEN)
        if cause:
            self.cause = f"{self.cause}: {cause}"


class Forbidden(Rejected):
    """The request's `Origin` or `Host` is not allowed."""

    status = 403


class TooManyRequests(Rejected):
    """As many clients as allowed are connected from the address of the request."""

    status = 429
    headers = MappingProxyType({"Retry-After": RETRY_AFTER})


class InsufficientScope(Rejected):
    """The request has a valid JWT that does not allow it (RFC 6750 §3.1)."""

    status = 403

    def __init__(self, missing: Sequence[str]) -> None:
        scope = " ".join(missing[:MAX_NAMED_SCOPES])
        super().__init__(f"The token lacks the scope {scope!r}.", RejectReason.SCOPE)
        # Scopes have no characters that need a quotation.
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        self.headers = MappingProxyType({"WWW-Authenticate": challenge})


class Unavailable(Rejected):
    """The server cannot serve the request now: it is full, stopping, or lacks keys for JWTs."""

    status = 503
    headers = MappingProxyType({"Retry-After": RETRY_AFTER})


class Stopping(Unavailable):
    """The server is stopping."""

    def __init__(self) -> None:
        super().__init__("The server is stopping. Please try again later.", RejectReason.STOPPING)
