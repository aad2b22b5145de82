"""What can go wrong, as exceptions. Each message says what was wrong and what is accepted."""

from aionotify.stats import RejectReason


class AionotifyError(Exception):
    """The root of all errors that aionotify raises itself."""


class SettingsError(AionotifyError):
    """A setting makes no sense. The message names the variable, the value and what is accepted."""


class InvalidRequest(AionotifyError):
    """A parameter or a body makes no sense."""


class EmptyMessage(InvalidRequest):
    """There is nothing to notify of."""


class MessageTooBig(AionotifyError):
    """A message is longer than `AIONOTIFY_MAX_MESSAGE_BYTES`."""


class Rejected(AionotifyError):
    """A request that makes sense, but is not let in. `reason` is one of `RejectReason`."""

    def __init__(self, message: str, reason: RejectReason) -> None:
        super().__init__(message)
        self.reason = reason


class Unauthorized(Rejected):
    """A request needs a token, and has none or another one."""


class Forbidden(Rejected):
    """A request comes from a web page, or by a name, from which it is not accepted."""


class PublishForbidden(AionotifyError):
    """A client may listen, but not send."""


class Unavailable(Rejected):
    """Not now: there are `AIONOTIFY_MAX_CONNECTIONS` already, or the server is stopping."""


class ProtocolError(AionotifyError):
    """A WebSocket peer broke RFC 6455. `code` is the status to close with (§7.4.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class CacheError(AionotifyError):
    """A memcached did not answer, answered nonsense, or refused a value."""
