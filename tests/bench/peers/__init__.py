"""The servers that are measured: ours, its alternatives, and a C loop as the limit.

Each implements as much of the interface as its scenarios need, so that all send the same bytes.
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
    """The command of a server on a port of 127.0.0.1, and its features."""

    name: str
    command: Callable[[int, Path], list[str]]
    """Returns the command for a port, and a temporary folder that exists while the server runs."""
    missing: Callable[[], str]
    """Returns the command that installs missing parts, or an empty string."""
    environment: Mapping[str, str] = field(default_factory=dict)
    publish_path: str = "/ws?client=admin"
    plain: bool = False
    """It forwards messages unchanged, without the prefix `[Notification] ` or `[Recent] `."""
    recents: bool = True
    """It sends recent messages to new clients."""
    health: bool = True
    """It has `/health`."""
    formats: bool = False
    """It supports JSON and server-sent events."""
    stalls: bool = True
    """It copes with clients that do not read."""


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
        # Pings would disturb the counting of bytes. The peers have no memcached either.
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
