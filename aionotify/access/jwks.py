"""Keys of JWTs from a URL: a key set (RFC 7517), fetched without blocking anything."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from yarl import URL

from aionotify.access.jwt import Key
from aionotify.errors import InvalidToken, Unavailable
from aionotify.net import is_safe_url
from aionotify.settings.jwt import MIN_RSA_BITS
from aionotify.stats import RejectReason
from aionotify.text import shorten

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds for a whole fetch."""

MAX_BYTES = 64 * 1024
"""Size of a key set at most."""

MAX_REDIRECTS = 3

LIFETIME = 600.0
"""Seconds after which the keys are fetched again."""

INTERVAL = 30.0
"""Seconds between two fetches at least, whatever tokens ask for."""

FIRST_INTERVAL = 5.0
"""The same, as long as there are no keys: until then, every request is answered with 503."""

ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""The algorithms of each `kty` and `crv`; the first is used for a key without `alg`."""


class KeySet:
    """The keys at a URL, kept for ten minutes, and for longer while the URL is unreachable."""

    def __init__(self, url: str) -> None:
        """Start without keys; nothing is fetched yet."""
        self._url = URL(url)
        self._keys: list[tuple[str | None, Key]] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def keys_for(self, kid: str | None) -> Sequence[Key]:
        """Return the keys called `kid`; without a `kid`, the only key.

        Raises InvalidToken if there is none, and Unavailable if none was ever fetched.
        """
        if self._is_due(kid):
            await self.refresh()
        if not self._keys:
            raise Unavailable(
                "The keys for tokens cannot be fetched. Please try again later.", RejectReason.KEYS
            )
        if kid is None:
            if len(self._keys) > 1:
                raise InvalidToken("it has no kid, and the key set has several keys")
            return [self._keys[0][1]]
        found = self._named(kid)
        if not found:
            raise InvalidToken(f"no key has its kid {shorten(ascii(kid))}")
        return found

    async def refresh(self) -> None:
        """Fetch the keys, or wait for the fetch that is under way. Raises nothing."""
        if self._task is None:
            self._tried_at = time.monotonic()
            self._task = asyncio.create_task(self._fetch())
            self._task.add_done_callback(self._on_done)
        # Shielded, because requests share the task, and one that is cancelled must not end it.
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Cancel the fetch that is under way, if any."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._task = None

    def _is_due(self, kid: str | None) -> bool:
        now = time.monotonic()
        wanted = now - self._fetched_at > LIFETIME or (kid is not None and not self._named(kid))
        interval = INTERVAL if self._keys else FIRST_INTERVAL
        # A fetch that is under way may bring the key.
        return wanted and (self._task is not None or now - self._tried_at >= interval)

    def _named(self, kid: str) -> list[Key]:
        return [key for name, key in self._keys if name == kid]

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                keys = usable_keys(await _read(self._url))
            if not keys:
                raise ValueError("no usable key in it")
        except TimeoutError:
            self._note_failure(f"no answer within {TIMEOUT:g} s")
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            self._note_failure(str(error) or type(error).__name__)
        else:
            if self._failing or not self._keys:
                logger.info("fetched %d keys for tokens from %s", len(keys), self._shown)
            self._keys, self._failing = keys, False
            self._fetched_at = time.monotonic()

    def _note_failure(self, reason: str) -> None:
        if not self._failing:
            effect = "the old ones stay valid" if self._keys else "JWTs are answered with 503"
            logger.warning(
                "cannot fetch the keys for tokens from %s (%s): %s, retrying on request",
                self._shown,
                shorten(ascii(reason)[1:-1]),
                effect,
            )
        self._failing = True

    @property
    def _shown(self) -> str:
        return str(self._url.with_query(None))


def usable_keys(document: object) -> list[tuple[str | None, Key]]:
    """Return the public signing keys of a key set, with their names; others are passed over."""
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("not a key set")
    return [found for each in members if isinstance(each, dict) and (found := _read_key(each))]


def _read_key(member: Mapping[str, Any]) -> tuple[str | None, Key] | None:
    """Return one key, or None if it is secret, short, for something else, or malformed."""
    kty, kid = str(member.get("kty")), member.get("kid")
    allowed = ALGORITHMS.get((kty, None if kty == "RSA" else str(member.get("crv"))), ())
    algorithm = member.get("alg", allowed[0] if allowed else None)
    if algorithm not in allowed or not _is_for_verifying(member) or not _is_name(kid):
        return None
    try:
        key = jwt.PyJWK(dict(member), algorithm).key
    except (jwt.PyJWTError, UnsupportedAlgorithm):
        return None
    return None if kty == "RSA" and key.key_size < MIN_RSA_BITS else (kid, Key(algorithm, key))


def _is_for_verifying(member: Mapping[str, Any]) -> bool:
    operations = member.get("key_ops", ["verify"])  # RFC 7517 §4.3
    verifies = isinstance(operations, list) and "verify" in operations
    is_public = "d" not in member
    return verifies and is_public and member.get("use", "sig") == "sig"


def _is_name(kid: object) -> bool:
    return kid is None or isinstance(kid, str)


async def _read(url: URL) -> object:
    """Return the JSON document at `url`. Raise ClientError, OSError or ValueError."""
    # Of an http URL, which is one of this machine, redirects may lead to this machine, too.
    schemes = {"https", url.scheme}
    # A session for each fetch: there is one in ten minutes. Without decompression, because the
    # limit is for what arrives.
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for _ in range(1 + MAX_REDIRECTS):
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            async with session.get(url, allow_redirects=False, headers=headers) as response:
                location = response.headers.get("Location")
                if not 300 <= response.status < 400 or location is None:
                    if response.status != 200:
                        raise ValueError(f"status {response.status}")
                    return json.loads(await _body(response))
            url = url.join(URL(location))
            if url.scheme not in schemes or not is_safe_url(str(url)):
                raise ValueError(f"it redirects to {url}")
    raise ValueError("it redirects too often")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in response.content.iter_any():
        body += part
        if len(body) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
    return body
