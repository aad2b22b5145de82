"""A node and a single nats-server, or none: waiting, rights, and lines in the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from tests.support import ServerProcess, eventually, free_port, running_server
from tests.support.cluster import is_current, publish, status_of
from tests.support.nats import running_nats


async def test_node_without_nats_promises_nothing(tmp_path: Path) -> None:
    """It listens all the same, for probes; it never says that nothing was published."""
    environment = {"AIONOTIFY_NATS_URL": f"nats://u:secret@127.0.0.1:{free_port()}"}
    async with running_server(environment) as node:
        first, *_, listening = map(logged_at, node.output().splitlines())
        assert listening - first < timedelta(seconds=6)
        for path in ("/health", "/ui", "/docs", "/metrics", "/"):
            assert (await status_of(node, path))[0] == 200, path
        for path in ("/messages", "/notifications", "/notifications?since=5", "/events"):
            status, body = await status_of(node, path)
            assert status == 503, path
            assert "has not reached its cluster yet" in body
        assert '"cache_status":"fallback"' in (await status_of(node, "/health"))[1]
        assert "NATS is unavailable" in node.output()
        assert "aionotify_nats_connected 0.0" in (await status_of(node, "/metrics"))[1]
        assert "secret" not in node.output()


def logged_at(line: str) -> datetime:
    """Return the time of a line of the log."""
    return datetime.fromisoformat(line.partition(" ")[0])


async def test_node_finds_nats_later(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        server.kill()
        environment = {"AIONOTIFY_NATS_URL": server.url, "AIONOTIFY_NATS_REPLICAS": "1"}
        async with running_server(environment) as node:
            server.start()
            await eventually(lambda: is_current(node), 10)
            assert (await publish(node, "x"))["message"] == "x"
            await eventually(lambda: " connected to NATS at 127.0.0.1:" in node.output())


async def test_too_few_servers_are_named(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        async with running_server({"AIONOTIFY_NATS_URL": server.url}) as node:
            assert "AIONOTIFY_NATS_REPLICAS: 3 replicas need as many servers" in node.output()


RIGHTS = """
authorization {{ users: [
    {{ user: admin, password: "s%cret" }},
    {{ user: node, password: pass, permissions: {{
        publish: [{publish}],
        subscribe: [
            "_INBOX.>", "aionotify-live.*", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.aionotify"
        ]
    }} }}
] }}
"""
ENOUGH = (
    '"aionotify.*", "$JS.API.STREAM.INFO.aionotify", "$JS.API.STREAM.CREATE.aionotify", '
    '"$JS.API.DIRECT.GET.aionotify", "$JS.API.STREAM.MSG.GET.aionotify"'
)


@asynccontextmanager
async def running_node(
    folder: Path, login: str, publish: str = ENOUGH
) -> AsyncIterator[ServerProcess]:
    """Run a nats-server with two users, of which `node` has rights, and a node that logs in."""
    with running_nats(folder, RIGHTS.format(publish=publish)) as server:
        url = server.url.replace("//", f"//{login}@")
        environment = {"AIONOTIFY_NATS_URL": url, "AIONOTIFY_NATS_REPLICAS": "1"}
        async with running_server(environment) as node:
            yield node


async def test_documented_rights_are_enough(tmp_path: Path) -> None:
    async with running_node(tmp_path, "node:pass") as node:
        assert await is_current(node), node.output()
        await publish(node, "x")
        assert "permissions" not in node.output().lower()


async def test_missing_right_is_named(tmp_path: Path) -> None:
    async with running_node(tmp_path, "node:pass", '"aionotify.*"') as node:
        wanted = 'permissions violation for publish to "$js.api.stream.info.aionotify"'
        await eventually(lambda: wanted in node.output().lower())


async def test_wrong_password_is_named_and_not_shown(tmp_path: Path) -> None:
    async with running_node(tmp_path, "admin:wrong-secret") as node:
        await eventually(lambda: "authorization" in node.output().lower())
        assert "wrong-secret" not in node.output()


async def test_password_is_decoded(tmp_path: Path) -> None:
    async with running_node(tmp_path, "admin:s%25cret") as node:
        assert await is_current(node), node.output()
