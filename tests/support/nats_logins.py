"""Logins of nats-server: nkeys, and JWTs of an operator, an account and a user."""

import base64
import json
import os
import time
from dataclasses import dataclass

import nkeys  # type: ignore[import-untyped]

CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""
"""The content of a file as `nsc` writes it."""

UNLIMITED = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1),
    "wildcards": True,
}
JETSTREAM = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair."""

    seed: str
    public: str

    def sign(self, data: bytes) -> bytes:
        """Sign."""
        signature: bytes = nkeys.from_seed(self.seed.encode()).sign(data)
        return signature


def new_key(prefix: int = nkeys.PREFIX_BYTE_USER) -> Key:
    """Make a key pair of a user, or of another kind."""
    seed = nkeys.encode_seed(os.urandom(32), prefix)
    return Key(seed.decode(), nkeys.from_seed(seed).public_key.decode())


def credentials(signer: Key, user: Key) -> str:
    """Return the content of a `.creds` file for a user of the account `signer`."""
    limits = {"subs": -1, "data": -1, "payload": -1}
    jwt = _jwt(signer, user.public, {"pub": {}, "sub": {}, **limits, "type": "user"})
    return CREDENTIALS.format(jwt=jwt, seed=user.seed)


def operator_mode(account: Key) -> str:
    """Return the configuration of a server that knows an operator with one account."""
    operator, system = new_key(nkeys.PREFIX_BYTE_OPERATOR), new_key(nkeys.PREFIX_BYTE_ACCOUNT)
    # JetStream wants a system account, which has none of it itself.
    limits = {account.public: {**UNLIMITED, **JETSTREAM}, system.public: UNLIMITED}
    accounts = (
        f"{public}: {_jwt(operator, public, {'limits': each, 'type': 'account'})}"
        for public, each in limits.items()
    )
    return (
        f"operator: {_jwt(operator, operator.public, {'type': 'operator'})}\n"
        f"system_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {', '.join(accounts)} }}\n"
    )


def _jwt(signer: Key, subject: str, claims: dict[str, object]) -> str:
    # PyJWT knows no `ed25519-nkey`, which is EdDSA by another name.
    payload = {
        "jti": os.urandom(16).hex(),
        "iat": int(time.time()),
        "name": "test",
        "iss": signer.public,
        "sub": subject,
        "nats": {**claims, "version": 2},
    }
    text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(payload)}"
    return f"{text}.{_base64(signer.sign(text.encode()))}"


def _part(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
