"""aionotify: a server for real-time notifications.

`create_app` builds the aiohttp application, `Settings` holds every knob.
"""

__version__ = "0.1.0"

from aionotify.app import create_app
from aionotify.settings import Settings

__all__ = ["Settings", "__version__", "create_app"]
