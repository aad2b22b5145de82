"""Requests that are answered in the moment in which the server stops waiting for them."""

import asyncio
import logging

import pytest
from aiohttp import web

from aionotify.http.protocol import HttpProtocol, Limits, connection_factory
from aionotify.stats import Stats


async def test_answer_at_the_deadline_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The handler ends in the turn of the loop in which `shutdown` gives it up."""
    started, release = asyncio.Event(), asyncio.Event()
    protocols: list[HttpProtocol] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        started.set()
        await release.wait()
        return web.Response(text="done")

    def connect() -> HttpProtocol:
        protocols.append(factory())
        return protocols[0]

    factory = connection_factory(web.Server(handler), Limits(5, 5, Stats()))
    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await started.wait()
    stopping = asyncio.create_task(protocols[0].shutdown(5))
    await asyncio.sleep(0)
    waiter = protocols[0]._handler_waiter
    assert waiter is not None
    with caplog.at_level(logging.ERROR):
        release.set()
        waiter.cancel()  # as the time-out does
        assert (await reader.read()).endswith(b"done")
        await stopping
    assert caplog.messages == []
    writer.close()
    server.close()
