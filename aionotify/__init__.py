"""aionotify: a real-time notification server.

`create_app` builds the aiohttp application, and `Settings` is its configuration.
"""

# Defined before the imports below: `aionotify.endpoints` imports it from here.
__version__ = "0.1.0"

from aionotify.app import create_app
from aionotify.settings import Settings

__all__ = ["Settings", "__version__", "create_app"]
