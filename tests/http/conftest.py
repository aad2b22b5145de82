"""The application on a socket, for all tests of this folder."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.app import create_app
from tests.support import alone
from tests.support.app import RunningApp, Serve


@pytest.fixture
def serve(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> Serve:
    """Start an application with these settings, without memcached unless they name one."""

    async def start(**values: Any) -> RunningApp:
        app = create_app(alone(**values))
        port = (await aiohttp_server(app)).port
        assert port is not None
        return RunningApp(app, port)

    return start


@pytest.fixture
async def running(serve: Serve) -> RunningApp:
    """Start an application without memcached, in which nothing was published."""
    return await serve()


@pytest.fixture
def port(running: RunningApp) -> int:
    """The port of `running`."""
    return running.port
