"""The keys of an application's components, for endpoints: `request.app[NOTIFIER]`.

`request.app` is the innermost application, so the keys work if it is mounted in another one.
"""

from aiohttp import web

from aionotify.access import Access
from aionotify.broker import Broker
from aionotify.cache import Cache
from aionotify.expiry import Expiry
from aionotify.hub import Hub
from aionotify.idempotency import Idempotency
from aionotify.metrics import Metrics
from aionotify.notifier import Notifier
from aionotify.receiver import Receiver
from aionotify.settings import Settings

SETTINGS = web.AppKey("settings", Settings)
ACCESS = web.AppKey("access", Access)
BROKER = web.AppKey("broker", Broker)
CACHE = web.AppKey("cache", Cache)
"""Only in an application that works alone."""
EXPIRY = web.AppKey("expiry", Expiry)
HUB = web.AppKey("hub", Hub)
IDEMPOTENCY = web.AppKey("idempotency", Idempotency)
METRICS = web.AppKey("metrics", Metrics)
NOTIFIER = web.AppKey("notifier", Notifier)
RECEIVER = web.AppKey("receiver", Receiver)
