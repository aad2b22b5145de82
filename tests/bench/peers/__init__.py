"""The servers that are measured: ours, what people would take instead, and the limit.

Each speaks as much of layer 1 as its scenarios need, so that all send the very same bytes.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.peers import bare, nchan

OURS = "aionotify"
FASTAPI = "FastAPI"
NCHAN = "nchan"
LIMIT = "bare send()"


@dataclass(frozen=True, slots=True)
class Peer:
    """How a server is started on a port of 127.0.0.1, and what it can do."""

    name: str
    command: Callable[[int, Path], list[str]]
    """From the port, and a folder of its own that is there as long as it runs."""
    missing: Callable[[], str]
    """Why it cannot run here; empty if it can."""
    environment: Mapping[str, str] = field(default_factory=dict)
    publish_path: str = "/ws?client=admin"
    plain: bool = False
    """It passes messages on as they are, without `[Notification] ` or `[Recent] ` before them."""
    recents: bool = True
    health: bool = True
    formats: bool = False
    """It speaks JSON and server-sent events too."""
    stalls: bool = True
    """It is written for more than clients that read at once."""


def _python(module: str) -> Callable[[int, Path], list[str]]:
    return lambda port, _: [sys.executable, "-m", f"tests.bench.peers.{module}", str(port)]


def _needs(*packages: str) -> Callable[[], str]:
    def missing() -> str:
        absent = [each for each in packages if importlib.util.find_spec(each) is None]
        return f"pip install {' '.join(absent)}" if absent else ""

    return missing


def _ours(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "aionotify", "--host", "127.0.0.1", "--port", str(port)]


PEERS = (
    Peer(
        OURS,
        _ours,
        _needs("uvloop"),
        # Pings would spoil the counting of bytes; without memcached, like the others.
        environment={"AIONOTIFY_HEARTBEAT": "0", "MEMCACHED_HOST": "127.0.0.1:1"},
        formats=True,
    ),
    Peer(FASTAPI, _python("fastapi_server"), _needs("fastapi", "uvicorn", "uvloop", "httptools")),
    Peer("aiohttp send_str", _python("aiohttp_server"), _needs("uvloop")),
    Peer(
        "websockets broadcast",
        _python("websockets_server"),
        _needs("websockets", "uvloop"),
        health=False,
    ),
    Peer(NCHAN, nchan.command, nchan.missing, publish_path="/publish", plain=True, health=False),
    Peer(LIMIT, bare.command, bare.missing, recents=False, health=False, stalls=False),
)
