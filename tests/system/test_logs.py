"""The log of the server process: its lines over a whole life, and never a token."""

import asyncio
import json
import re
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support import MemcachedProcess, ServerProcess, eventually, exchange, running_server
from tests.support.access import ADMIN, HANDSHAKE, USER, WRONG, ask, with_token
from tests.support.log_lines import without_times

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
TOKEN = "a-token-that-nobody-sees"
NO_MEMCACHED = {"MEMCACHED_HOST": "127.0.0.1:1"}


def objects(server: ServerProcess) -> list[dict[str, Any]]:
    """Return the lines of the log so far. Raise ValueError if one is not JSON."""
    return [json.loads(line) for line in server.output().splitlines()]


async def test_json_log_has_one_object_per_line() -> None:
    environment = {**NO_MEMCACHED, "AIONOTIFY_LOG_FORMAT": "json", "AIONOTIFY_LOG_LEVEL": "debug"}
    environment["AIONOTIFY_NO_SETTING"] = "1"
    async with running_server(environment) as server:
        await exchange(server.port, b"GET /nowhere?a=b HTTP/1.1")
        assert await server.stop() == 0
        lines = objects(server)
    for each in lines:
        assert list(each) == ["time", "level", "logger", "message"]
        assert re.fullmatch(TIME, each["time"])
    assert {each["level"] for each in lines} >= {"DEBUG", "INFO", "WARNING"}
    assert lines[-1]["message"] == "stopped"


async def test_request_is_one_line_at_debug() -> None:
    environment = {
        **NO_MEMCACHED,
        "AIONOTIFY_LOG_LEVEL": "debug",
        "AIONOTIFY_TRUSTED_PROXIES": "1",
    }
    async with running_server(environment) as server:
        await exchange(server.port, b"GET /health?x=1 HTTP/1.1")
        await exchange(server.port, b"GET /a%0Ab HTTP/1.1", b"X-Forwarded-For: 192.0.2.7")
        async with connect(f"{server.ws_url}?client=admin"):
            await eventually(lambda: "GET /ws" in server.output())
        requests = re.findall(r"DEBUG   aionotify\.logs: (.*)", server.output())
        durations = [re.sub(r"\d+\.\d ms", "N ms", line) for line in requests]
        assert durations == [
            "GET /health: 200 after N ms, for 127.0.0.1",
            "GET /a%0Ab: 404 after N ms, for 192.0.2.7",
            "GET /ws: 101 after N ms, for 127.0.0.1",
        ]


async def test_requests_are_not_logged_at_info() -> None:
    async with running_server(NO_MEMCACHED) as server:
        await exchange(server.port, b"GET /health HTTP/1.1")
        assert await server.stop() == 0
        assert "/health" not in server.output()


async def test_log_has_no_token() -> None:
    environment = {**NO_MEMCACHED, "AIONOTIFY_LOG_LEVEL": "debug", "AIONOTIFY_ADMIN_TOKEN": TOKEN}
    token = TOKEN.encode()
    async with running_server(environment) as server:
        port = server.port
        await exchange(port, b"GET /ws?client=admin&token=%b HTTP/1.1" % token)
        await exchange(port, b"GET /nowhere?token=%b HTTP/1.1" % token)
        await exchange(port, b"GET /health/?token=%b HTTP/1.1" % token)
        await exchange(port, b"GET http://h/health?token=%b HTTP/1.1" % token)
        await exchange(port, b"GET /events?topic=!&token=%b HTTP/1.1" % token)
        await exchange(port, b"POST /messages HTTP/1.1", b"Authorization: Bearer " + token)
        await exchange(port, b"BAD\x00 /?token=%b HTTP/1.1" % token)
        async with connect(f"{server.ws_url}?client=admin&token={TOKEN}"):
            await eventually(lambda: "GET /ws: 101" in server.output())
        assert await server.stop() == 0
        assert "GET /nowhere: 404" in server.output()
        assert TOKEN not in server.output()


async def raw_websocket(port: int, target: str = "/ws", *headers: str) -> asyncio.StreamWriter:
    """Open a WebSocket that answers nothing from then on, not even a close frame."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", *headers]
    lines += [f"{name}: {value}" for name, value in HANDSHAKE.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return writer


async def test_log_has_no_token_at_debug() -> None:
    """Neither after valid, rejected and malformed requests, nor after a forced disconnect."""
    environment = {
        **NO_MEMCACHED,
        "AIONOTIFY_ADMIN_TOKEN": ADMIN,
        "AIONOTIFY_USER_TOKEN": USER,
        "AIONOTIFY_SHUTDOWN_GRACE": "0",
    }
    broken = f"GET /ws?token={ADMIN} HTTP/1.1\r\nAuthorization : Bearer {USER}\r\nx\r\n\r\n"
    async with running_server(environment, "--log-level", "debug") as server:
        for place in ("header", "query", "subprotocol"):
            for token in (ADMIN, USER, WRONG):
                for target in ("/ws", "/ws?client=admin", "/events", "/messages?topic=%21"):
                    path, headers = with_token(place, token, target)
                    await ask(server.port, "GET", path, headers)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(broken.encode())
        assert b" 400 Bad Request\r\n" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        writer = await raw_websocket(server.port, f"/ws?token={ADMIN}")
        assert await server.stop() == 0
        writer.close()
        assert "no answer to the close frame" in server.output()
        assert "malformed or aborted request" in server.output()
        assert "Traceback" not in server.output()
        assert not any(token in server.output() for token in (ADMIN, USER, WRONG))


@pytest.mark.parametrize(
    ("proxies", "shown"), [("0", "client 127.0.0.1:"), ("1", "client 192.0.2.1: ")]
)
async def test_disconnect_names_forwarded_address(proxies: str, shown: str) -> None:
    """The log has the client's address, not the proxy's, if the proxy is trusted."""
    environment = {
        **NO_MEMCACHED,
        "AIONOTIFY_TRUSTED_PROXIES": proxies,
        "AIONOTIFY_SHUTDOWN_GRACE": "0",
    }
    async with running_server(environment) as server:
        writer = await raw_websocket(server.port, "/ws", "X-Forwarded-For: 192.0.2.1")
        assert await server.stop() == 0
        writer.close()
        assert shown in server.output()


async def test_failover_names_the_new_memcached(memcached: MemcachedProcess) -> None:
    """It is not connected "again": it was never in use."""
    first, second = f"127.0.0.1:{memcached.port}", MemcachedProcess()
    where = f"127.0.0.1:{second.port}"
    try:
        async with running_server({"MEMCACHED_HOST": f"{first},{where}"}) as server:
            second.start()
            memcached.kill()
            await eventually(lambda: f"connected to memcached at {where}" in server.output())
            (line,) = (each for each in without_times(server.output()) if where in each)
            assert line.startswith(f"INFO    aionotify.cache: connected to memcached at {where} (")
    finally:
        second.kill()


async def test_memcached_outage_reads_as_story(memcached: MemcachedProcess) -> None:
    """memcached crashes and returns: one line for each transition, with its consequence."""
    where = f"127.0.0.1:{memcached.port}"
    async with running_server({"MEMCACHED_HOST": where}) as server:
        memcached.kill()
        await eventually(lambda: "lost memcached" in server.output())
        memcached.start()
        await eventually(lambda: f"reconnected to memcached at {where}" in server.output())
        assert await server.stop() == 0
        lines = without_times(server.output())
    story = [re.sub(r"\([^)]*\)", "(why)", line) for line in lines if "cache" in line]
    assert story == [
        f"INFO    aionotify.cache: connected to memcached at {where}",
        f"WARNING aionotify.cache: lost memcached at {where} (why): keeping recent notifications "
        "in memory, retrying in the background",
        f"INFO    aionotify.cache: reconnected to memcached at {where}",
    ]
