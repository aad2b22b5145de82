"""The tokens of a request, static ones and JWTs, and the grant that they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aionotify.access.tokens import digest, find_digest
from aionotify.errors import InvalidToken
from aionotify.grants import ALL_TOPICS, NO_TOPICS, Grant
from aionotify.settings import Settings

if TYPE_CHECKING:
    from aionotify.access.jwks import KeySet
    from aionotify.access.jwt import KeySource, Verifier


@dataclass(frozen=True, slots=True)
class Identity:
    """The grant of a request, by the token that counts, and its sender."""

    grant: Grant

    problem: str | None = None
    """Why none of its tokens counts, or an empty text if that is all there is to say.

    None if one counts, or if there are none.
    """

    sender: bytes = b""
    """Identifies the sender of an idempotency key: the same for all tokens of one subject."""


class Authenticator:
    """Turns tokens, static ones and JWTs, into grants."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings once. Keeps digests of static tokens, not the tokens."""
        # A traceback with local variables, or a debugger, then shows no token.
        self._admin_digests = [digest(token) for token in settings.admin_tokens]
        self._user_digests = [digest(token) for token in settings.user_tokens]
        self._key_set: KeySet | None = None
        self._verifier = self._make_verifier(settings) if settings.accepts_jwts else None
        # A token for publishing leaves subscribing open, and the other way round. A key for JWTs
        # closes both, because it is there to distinguish users.
        self.anonymous = Grant(
            NO_TOPICS if self._admin_digests or settings.accepts_jwts else ALL_TOPICS,
            NO_TOPICS if self._user_digests or settings.accepts_jwts else ALL_TOPICS,
        )
        """The grant of a request without a valid token."""

    @property
    def is_open(self) -> bool:
        """Whether tokens change nothing: none is configured, and no key for JWTs."""
        return not (self._admin_digests or self._user_digests or self._verifier)

    def _make_verifier(self, settings: Settings) -> "Verifier":
        # Here, because PyJWT may be missing: it is an optional extra.
        from aionotify.access.jwt import ConfiguredKeys, Verifier

        keys: KeySource = ConfiguredKeys(settings)
        if settings.jwt_jwks:
            from aionotify.access.jwks import KeySet

            keys = self._key_set = KeySet(settings.jwt_jwks)
        return Verifier(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)

    async def start(self) -> None:
        """Fetch the keys of JWTs that are at a URL, so that the first client need not wait."""
        if self._key_set is not None:
            await self._key_set.refresh()

    async def stop(self) -> None:
        """Stop fetching keys."""
        if self._key_set is not None:
            await self._key_set.stop()

    async def identify(self, tokens: Sequence[str]) -> Identity:
        """Return the identity of a request with `tokens`. Raise Unavailable without keys for a JWT.

        Static tokens come first, an admin's before a user's; then the first valid JWT decides
        alone. The rights of several tokens are not united: no token would say what they are.
        """
        admin = find_digest(tokens, self._admin_digests)
        user = find_digest(tokens, self._user_digests)
        if admin is not None:
            return Identity(Grant(ALL_TOPICS, ALL_TOPICS), sender=admin)
        if user is not None:
            return Identity(Grant(self.anonymous.publish, ALL_TOPICS))
        if self._verifier is None:
            return Identity(self.anonymous, "" if tokens else None)
        problem = None
        for token in tokens:
            try:
                grant = await self.verify(token)
            except InvalidToken as error:
                problem = problem or str(error)
            else:
                return Identity(grant, sender=_sender_of(grant, token))
        return Identity(self.anonymous, problem)

    async def verify(self, token: str) -> Grant:
        """Return the grant of a JWT. Raise InvalidToken, or Unavailable without keys."""
        if self._verifier is None:
            raise InvalidToken("this server has no key for JWTs")
        return await self._verifier.verify(token)


def _sender_of(grant: Grant, token: str) -> bytes:
    # A client that renews its token is still the same sender. The word in front keeps a subject
    # apart from a static token with the same text.
    return digest(token if grant.subject is None else f"sub {grant.subject}")
