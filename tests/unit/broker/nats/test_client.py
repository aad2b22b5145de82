"""nats-py's client: its traps of TLS, and what is faster here."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

import aionotify.broker.nats.client as module
from aionotify.broker.nats.client import SafeClient
from tests.support.nats import running_nats
from tests.support.tasks import background
from tests.support.tls import client_tls, write_other_pem
from tests.support.waiting import eventually

OFFERS = {"server_id": "x", "version": "2.12.0", "max_payload": 1 << 20, "auth_required": True}


@contextlib.asynccontextmanager
async def plain_server(received: list[bytes], **info: bool) -> AsyncIterator[str]:
    """Run a server that presents itself, and notes everything that it gets. Yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps({**OFFERS, **info}).encode() + b"\r\n")
        received.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def connect(client: SafeClient, url: str, errors: list[Exception]) -> None:
    """Connect, and note all errors on the way."""

    async def note(error: Exception) -> None:
        errors.append(error)

    await client.connect(
        url,
        user="u",
        password="secret",
        tls=client_tls(),
        error_cb=note,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.01,  # type: ignore[arg-type]  # any number
    )


@pytest.mark.parametrize("info", [{}, {"tls_required": False}, {"tls_available": True}])
async def test_server_without_tls_gets_nothing(info: dict[str, bool]) -> None:
    received: list[bytes] = []
    errors: list[Exception] = []
    async with (
        plain_server(received, **info) as url,
        background(connect(SafeClient(), url, errors)),
    ):
        await eventually(lambda: len(received) >= 2)
    assert {*received} == {b""}
    assert {str(each) for each in errors} == {"the server does not require TLS"}
    assert isinstance(errors[0], nats.errors.Error)


async def test_failed_handshake_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """nats-py alone would wait forever for a stream that the handshake has replaced."""
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.01)
    pem = tmp_path / "server.pem"
    write_other_pem(pem)
    errors: list[Exception] = []
    with running_nats(tmp_path, f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}') as server:
        async with background(connect(SafeClient(), server.url, errors)):
            await eventually(lambda: len(errors) >= 3)
    assert all("certificate verify failed" in str(each) for each in errors)


NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))


@given(st.dictionaries(NAMES, VALUES))
def test_headers_are_parsed_as_nats_py_does(headers: dict[str, str]) -> None:
    raw = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    parsed = SafeClient._parse_header_lines(raw)
    assert parsed == Client._parse_header_lines(raw)
    assert list(parsed) == list(headers)


def test_bytes_that_are_no_header_are_no_error() -> None:
    assert SafeClient._parse_header_lines(b"a: \xff\r\nno header\r\n: x\r\n\r\n") == {
        "a": "\N{REPLACEMENT CHARACTER}",
        "": "x",
    }


async def test_messages_are_received_in_order(tmp_path: Path) -> None:
    """Of all subscriptions; and one that cannot be processed does not end the receiving."""
    received: list[bytes] = []

    def receive(msg: Msg) -> None:
        received.append(msg.data)
        if msg.data == b"1":
            raise ValueError(msg.data)

    client = SafeClient()
    with running_nats(tmp_path) as server:
        await client.connect(server.url)
        for subject in "ab":
            await client.receive(subject, receive)
        for number in range(6):
            await client.publish("ab"[number % 2], b"%d" % number)
        await eventually(lambda: len(received) == 6)
        await client.close()
    assert received == [b"%d" % number for number in range(6)]
