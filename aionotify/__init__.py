"""aionotify: a real-time notification server.

`create_app` builds the aiohttp application, and `Settings` is its configuration.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["Settings", "__version__", "create_app"]

if TYPE_CHECKING:
    from aionotify.app import create_app
    from aionotify.settings import Settings


def __getattr__(name: str) -> object:
    """Import the server when it is first asked for: `aionotify.client` needs aiohttp only."""
    if name == "create_app":
        from aionotify.app import create_app

        return create_app
    if name == "Settings":
        from aionotify.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
