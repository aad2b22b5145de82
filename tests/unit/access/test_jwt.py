"""JWTs: only a token that the right key signed, for us, for now, is worth anything."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import base64url_encode

import aionotify.access.jwt as module
from aionotify.access.jwt import LEEWAY, MAX_LENGTH, ConfiguredKeys, Verifier, duration
from aionotify.errors import InvalidToken
from aionotify.grants import Grant, Topics
from aionotify.settings import Settings
from aionotify.settings.jwt import PublicKey
from tests.support.builders import NOW, Clock
from tests.support.jwts import (
    KEYS,
    OLD_SECRET,
    P256_KEY,
    RSA_KEY,
    SECRET,
    public_pem,
    signed,
    token,
)

ISSUER, AUDIENCE = "https://id.example", "notify"


def verifier(issuer: str = "", audience: str = "", **settings: Any) -> Verifier:
    """Return a verifier with a secret, unless `settings` have another key."""
    keys = ConfiguredKeys(Settings(**(settings or {"jwt_secrets": (SECRET, OLD_SECRET)})))
    return Verifier(keys, issuer=issuer, audience=audience)


def with_key(algorithm: str) -> Verifier:
    """Return a verifier with the public key of an algorithm."""
    key = PublicKey(algorithm, public_pem(KEYS[algorithm]))
    return verifier(jwt_public_key=key)


async def reason(text: str, by: Verifier | None = None) -> str:
    """Return why a token is refused."""
    with pytest.raises(InvalidToken) as refused:
        await (by or verifier()).verify(text)
    return str(refused.value)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that a test sets."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def test_claims_become_grant() -> None:
    end = int(time.time()) + 60
    scope = "openid subscribe:user.42 publish:chat.* subscribe:public.*"
    assert await verifier().verify(token(scope, exp=end)) == Grant(
        publish=Topics(prefixes=("chat.",)),
        subscribe=Topics(frozenset({"user.42"}), ("public.",)),
        subject="42",
        expires=end,
    )


@pytest.mark.parametrize("key", [SECRET, OLD_SECRET])
async def test_each_secret_is_accepted(key: str) -> None:
    assert (await verifier().verify(token(key=key))).subject == "42"


@pytest.mark.parametrize("algorithm", KEYS)
async def test_public_key_is_accepted(algorithm: str) -> None:
    text = token(key=KEYS[algorithm], algorithm=algorithm)
    assert (await with_key(algorithm).verify(text)).may_publish("x")


async def test_other_key_is_refused() -> None:
    assert await reason(token(key="x" * 32)) == "its signature does not match"
    for algorithm in KEYS:
        text = token(key=KEYS[algorithm], algorithm=algorithm)
        changed = text[:-20] + ("AAAA" if text[-20:-16] != "AAAA" else "BBBB") + text[-16:]
        assert "signature does not match" in await reason(changed, with_key(algorithm))


@pytest.mark.parametrize("algorithm", KEYS)
async def test_public_key_is_no_secret(algorithm: str) -> None:
    """Key confusion: the attacker signs with HS256 and the public key, which everyone knows."""
    for text in (public_pem(KEYS[algorithm]), public_pem(KEYS[algorithm]).strip()):
        forged = token(key=text, algorithm="HS256")
        assert "its alg is not that of the key" in await reason(forged, with_key(algorithm))


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("none", None), ("HS512", SECRET.encode()), ("RS256", RSA_KEY), ("ES256", P256_KEY)],
)
async def test_alg_of_token_decides_nothing(algorithm: str, key: Any) -> None:
    text = token(key=key, algorithm=algorithm)
    assert await reason(text) == "its alg is not that of the key (HS256)"
    assert await reason(text, with_key("EdDSA")) == "its alg is not that of the key (EdDSA)"


@pytest.mark.parametrize("alg", ["None", "NONE", "hs256", "", None, ["HS256"], {}])
async def test_odd_alg_is_refused(alg: object) -> None:
    """With a signature that would be right."""
    text = signed({"exp": time.time() + 60}, SECRET, {"alg": "HS256"})
    header = base64url_encode(json.dumps({"alg": alg}).encode()).decode()
    assert "alg" in await reason(f"{header}.{text.partition('.')[2]}")


@pytest.mark.parametrize(
    "headers",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": True}, {"crit": None}],
)
async def test_critical_extension_is_refused(headers: dict[str, Any]) -> None:
    await reason(token(headers=headers))


@pytest.mark.parametrize("name", ["jku", "x5u"])
async def test_key_in_token_is_ignored(name: str) -> None:
    """The attacker's own key, and where to find it."""
    own = {"jwk": {"kty": "oct", "k": "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg"}}
    headers = {**own, name: "https://evil.example/jwks.json"}
    assert await reason(token(key="x" * 32, headers=headers)) == "its signature does not match"
    assert await verifier().verify(token(headers=headers))


async def test_nested_token_is_refused() -> None:
    text = signed(token().encode(), SECRET, {"alg": "HS256", "cty": "JWT"})
    assert await reason(text) == "its claims are not a JSON object"


# ------------------------------------------------------------------------------------- claims

PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "no exp": ({"exp": None}, "it has no exp, so it would be valid forever"),
    "exp is text": ({"exp": "9999999999"}, 'its exp is "9999999999" (expected seconds since 1970)'),
    "exp is true": ({"exp": True}, "its exp is true (expected seconds since 1970)"),
    "exp is infinite": ({"exp": float("inf")}, "its exp is Infinity (expected seconds since 1970)"),
    "exp is NaN": ({"exp": float("nan")}, "its exp is NaN (expected seconds since 1970)"),
    "exp is negative": ({"exp": -1}, "its exp is -1 (expected seconds since 1970)"),
    "exp is never": ({"exp": 10**30}, f"its exp is {10**30} (expected seconds since 1970)"),
    "expired": ({"exp": NOW - 300}, "it expired 5 minutes ago"),
    "expired at the leeway": ({"exp": NOW - LEEWAY}, "it expired 10 seconds ago"),
    "nbf ahead": ({"nbf": NOW + 11}, "it is not valid yet (nbf is in 11 seconds)"),
    "nbf is text": ({"nbf": "0"}, 'its nbf is "0" (expected seconds since 1970)'),
    "iat ahead": ({"iat": NOW + 3600}, "it was issued in the future (iat is in 1 hour)"),
    "iat is a list": ({"iat": [0]}, "its iat is [0] (expected seconds since 1970)"),
    "scope is a list": ({"scope": ["publish:*"]}, 'its scope is ["publish:*"] (expected text)'),
    "scope is true": ({"scope": True}, "its scope is true (expected text)"),
    "sub is a number": ({"sub": 42}, "its sub is 42 (expected text)"),
}


@pytest.mark.parametrize(("others", "problem"), PROBLEMS.values(), ids=PROBLEMS)
async def test_invalid_claim_is_explained(
    clock: Clock, others: dict[str, Any], problem: str
) -> None:
    assert await reason(token(**{"exp": NOW + 60, **others})) == problem


@pytest.mark.parametrize(
    "others",
    [
        {"exp": NOW - LEEWAY + 0.1},
        {"exp": NOW + 0.5},
        {"nbf": NOW + LEEWAY},
        {"iat": NOW + LEEWAY},
        {"iat": 0, "nbf": 0},
    ],
)
async def test_leeway_is_granted(clock: Clock, others: dict[str, Any]) -> None:
    assert await verifier().verify(token(**{"exp": NOW + 60, **others}))


@pytest.mark.parametrize(
    ("iss", "valid"), [(ISSUER, True), (ISSUER + "/", False), (None, False), ([ISSUER], False)]
)
async def test_issuer_is_compared(iss: object, valid: bool) -> None:
    text = token(iss=iss)
    assert await verifier().verify(text)
    if valid:
        assert await verifier(issuer=ISSUER).verify(text)
    else:
        problem = await reason(text, verifier(issuer=ISSUER))
        assert problem == f'wrong issuer {json.dumps(iss)} (expected "{ISSUER}")'


@pytest.mark.parametrize(
    ("aud", "valid"),
    [
        (AUDIENCE, True),
        (["other", AUDIENCE], True),
        ("other", False),
        (["other"], False),
        ([], False),
        (None, False),
        (f"{AUDIENCE} other", False),
        ({AUDIENCE: 1}, False),
    ],
)
async def test_audience_is_compared(aud: object, valid: bool) -> None:
    text = token(aud=aud)
    assert await verifier().verify(text)
    if valid:
        assert await verifier(audience=AUDIENCE).verify(text)
    else:
        problem = await reason(text, verifier(audience=AUDIENCE))
        assert problem == f'wrong audience {json.dumps(aud)} (expected "{AUDIENCE}")'


async def test_token_without_scope_allows_nothing() -> None:
    grant = await verifier().verify(token(None))
    assert (str(grant.publish), str(grant.subscribe)) == ("nothing", "nothing")


# -------------------------------------------------------------------------------------- shape


async def test_length_is_limited() -> None:
    padding = MAX_LENGTH - len(token(x=""))
    fits = token(x="x" * (padding * 3 // 4 - 4))
    assert MAX_LENGTH - 16 <= len(fits) <= MAX_LENGTH
    assert await verifier().verify(fits)
    long = token(x="x" * padding)
    assert (await reason(long)).endswith(f"characters (expected at most {MAX_LENGTH})")


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b.c", "a.b", "a.b.c.d.e", "é.é.é", "\udcff.a.b", "e30.e30.", "W10.W10.x"],
)
async def test_garbage_is_refused(text: str) -> None:
    await reason(text)


@given(st.text(st.sampled_from("eyJ0.{}-_=é"), max_size=50))
async def test_any_text_is_refused(text: str) -> None:
    await reason(text)


async def test_deep_json_is_refused() -> None:
    deep = b"[" * 4000
    assert (
        await reason(signed(deep, SECRET, {"alg": "HS256"})) == "its claims are not a JSON object"
    )


async def test_reason_shows_no_token_and_no_line_break(clock: Clock) -> None:
    text = token("x\nforged line", aud="é\n" * 200, exp=NOW + 60)
    problem = await reason(text, verifier(audience=AUDIENCE))
    assert problem.isprintable()
    assert len(problem) < 200
    assert text not in problem


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (7200, "2 hours")],
)
def test_duration_is_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
    assert duration(86400 * 3) == "3 days"
