"""The log: lines of text or of JSON, requests among them, and never a token."""

import json
import logging
import re
import sys
from typing import Any

from websockets.asyncio.client import connect

from aionotify.logs import JsonLineFormatter
from tests.support import MemcachedProcess, ServerProcess, eventually, exchange, running_server

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
TOKEN = "a-token-that-nobody-sees"
NOWHERE = {"MEMCACHED_HOST": "127.0.0.1:1"}


def formatted(message: str, *arguments: object, failed: bool = False) -> dict[str, Any]:
    """The line for it, read back."""
    error = sys.exc_info() if failed else None
    record = logging.LogRecord("a.logger", logging.WARNING, "x.py", 1, message, arguments, error)
    record.created = 1_763_884_800.25
    line = JsonLineFormatter().format(record)
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


def objects(server: ServerProcess) -> list[dict[str, Any]]:
    """What it has printed so far, line by line; ValueError where a line is no JSON."""
    return [json.loads(line) for line in server.output().splitlines()]


def test_a_line_is_an_object() -> None:
    assert formatted("Grüße an %s\nund %d", "alle", 2) == {
        "time": "2025-11-23T08:00:00.250Z",
        "level": "WARNING",
        "logger": "a.logger",
        "message": "Grüße an alle\nund 2",
    }


def test_an_exception_stays_in_its_line() -> None:
    try:
        raise ValueError("what happened")
    except ValueError:
        document = formatted("it failed", failed=True)
    assert list(document) == ["time", "level", "logger", "message", "exception"]
    assert document["exception"].endswith("ValueError: what happened")
    assert document["exception"].startswith("Traceback")


async def test_every_line_of_a_life_is_an_object_with_the_same_fields() -> None:
    environment = {**NOWHERE, "AIONOTIFY_LOG_FORMAT": "json", "AIONOTIFY_LOG_LEVEL": "debug"}
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


async def test_a_request_is_one_line_at_debug() -> None:
    environment = {
        **NOWHERE,
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


async def test_requests_are_not_logged_above_debug() -> None:
    async with running_server(NOWHERE) as server:
        await exchange(server.port, b"GET /health HTTP/1.1")
        assert await server.stop() == 0
        assert "/health" not in server.output()


async def test_no_token_is_in_the_log_wherever_it_stands() -> None:
    environment = {**NOWHERE, "AIONOTIFY_LOG_LEVEL": "debug", "AIONOTIFY_ADMIN_TOKEN": TOKEN}
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


async def test_an_incident_reads_as_a_story(memcached: MemcachedProcess) -> None:
    """memcached dies and returns: one line for each turn, and each says what becomes of it."""
    where = f"127.0.0.1:{memcached.port}"
    async with running_server({"MEMCACHED_HOST": where}) as server:
        memcached.kill()
        await eventually(lambda: "lost memcached" in server.output())
        memcached.start()
        await eventually(lambda: f"memcached at {where} again" in server.output())
        assert await server.stop() == 0
        lines = [line.partition(",")[2][4:] for line in server.output().splitlines()]
    story = [re.sub(r"\([^)]*\)", "(why)", line) for line in lines if "cache" in line]
    assert story == [
        f"INFO    aionotify.cache: recents are kept in memcached at {where}",
        f"WARNING aionotify.cache: lost memcached at {where} (why): recents are kept in memory "
        "until one answers again",
        f"INFO    aionotify.cache: recents are kept in memcached at {where} again",
    ]
