"""The errors that aionotify raises, and the responses that they become."""

from collections.abc import Iterator
from typing import TypeVar

import pytest

from aionotify import errors
from aionotify.errors import AionotifyError, RequestError
from aionotify.stats import RejectReason

E = TypeVar("E", bound=AionotifyError)


def subclasses(base: type[E]) -> Iterator[type[E]]:
    """Iterate over all classes below `base`."""
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_error_has_the_same_base() -> None:
    classes = {each for each in vars(errors).values() if isinstance(each, type)}
    raised = {each for each in classes if issubclass(each, Exception)}
    assert raised == {AionotifyError, *subclasses(AionotifyError)}


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.InvalidRequest, 400, {}),
        (errors.EmptyMessage, 400, {}),
        (errors.Unauthorized, 401, {"WWW-Authenticate": "Bearer"}),
        (errors.BadToken, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}),
        (errors.Forbidden, 403, {}),
        (errors.InsufficientScope, 403, {}),
        (errors.RequestTimeout, 408, {}),
        (errors.MessageTooBig, 413, {}),
        (errors.UnsupportedMediaType, 415, {}),
        (errors.UpgradeRequired, 426, {"Upgrade": "websocket"}),
        (
            errors.UnsupportedVersion,
            426,
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        ),
        (errors.TooManyRequests, 429, {"Retry-After": "5"}),
        (errors.Unavailable, 503, {"Retry-After": "5"}),
        (errors.Stopping, 503, {"Retry-After": "5"}),
    ],
)
def test_status_and_headers_of_each(
    error: type[RequestError], status: int, headers: dict[str, str]
) -> None:
    assert (error.status, dict(error.headers)) == (status, headers)


def test_only_unread_bodies_close_the_connection() -> None:
    closing = {each for each in subclasses(RequestError) if each.closes_connection}
    assert closing == {errors.RequestTimeout, errors.MessageTooBig}


def test_rejection_has_message_and_reason() -> None:
    error = errors.Forbidden("Not from there.", RejectReason.ORIGIN)
    assert (str(error), error.reason) == ("Not from there.", RejectReason.ORIGIN)


def test_protocol_error_has_code_and_message() -> None:
    error = errors.ProtocolError(1002, "reserved bits are set")
    assert (error.code, str(error)) == (1002, "reserved bits are set")


def test_bad_token_has_its_cause_for_the_log_only() -> None:
    error = errors.BadToken("The token is invalid.", "it expired")
    assert (str(error), error.cause) == ("The token is invalid.", "no valid token: it expired")
    assert errors.Unauthorized("A token is required.", RejectReason.TOKEN).cause == "no valid token"


def test_missing_scopes_are_named_up_to_ten() -> None:
    error = errors.InsufficientScope([f"subscribe:{number}" for number in range(50)])
    scope = " ".join(f"subscribe:{number}" for number in range(10))
    assert error.headers["WWW-Authenticate"] == (
        f'Bearer error="insufficient_scope", scope="{scope}"'
    )
    assert str(error) == f"The token lacks the scope '{scope}'."
    assert error.reason is RejectReason.SCOPE
