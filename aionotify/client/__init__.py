"""Subscribe and publish from Python: `listen` and `publish`. Needs aiohttp, not the server."""

from aionotify.client.connection import Refused
from aionotify.client.events import Gap, Notification
from aionotify.client.listener import State, listen
from aionotify.client.publisher import publish
from aionotify.client.tokens import Token

__all__ = ["Gap", "Notification", "Refused", "State", "Token", "listen", "publish"]
