"""The application: its components, their start and stop, and the routes."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from aionotify.access import Access
from aionotify.cache import Cache
from aionotify.endpoints.events import Events
from aionotify.endpoints.messages import Messages
from aionotify.endpoints.notifications import Notifications
from aionotify.endpoints.prometheus import MetricsPage
from aionotify.endpoints.status import Status
from aionotify.endpoints.ui import static_files
from aionotify.endpoints.ws import WebSocket
from aionotify.http.responses import errors_as_json
from aionotify.hub import Hub
from aionotify.limits import connections_allowed
from aionotify.logs import log_requests
from aionotify.metrics import Metrics
from aionotify.notifier import Notifier
from aionotify.settings import Settings

SETTINGS = web.AppKey("settings", Settings)
ACCESS = web.AppKey("access", Access)
CACHE = web.AppKey("cache", Cache)
HUB = web.AppKey("hub", Hub)
METRICS = web.AppKey("metrics", Metrics)
NOTIFIER = web.AppKey("notifier", Notifier)


def create_app(settings: Settings | None = None) -> web.Application:
    """The notification server, to be run, or mounted in another application with `add_subapp`."""
    settings = settings or Settings()
    access = Access(settings)
    app = web.Application()
    app[SETTINGS] = settings
    app[ACCESS] = access
    app[CACHE] = Cache(settings.memcached_addresses, settings.recent_limit, settings.recent_ttl)
    app[HUB] = Hub(
        settings.history_limit,
        settings.recent_ttl,
        settings.max_connections or connections_allowed(),
    )
    app[METRICS] = Metrics(app[HUB], app[CACHE])
    app[NOTIFIER] = Notifier(app[HUB], app[CACHE], settings.max_message_bytes)
    app.middlewares.extend(
        [
            log_requests(access),
            access.cors,
            errors_as_json,
            app[METRICS].count_rejections,
            access.authorize,
        ]
    )
    app.cleanup_ctx.append(_cache)
    app.cleanup_ctx.append(_background)
    app.on_shutdown.append(_close)
    _add_routes(app)
    return app


def _add_routes(app: web.Application) -> None:
    """Whoever may send or listen is asked for on every route that is not open to all."""
    access = app[ACCESS]
    status = Status(app[HUB], app[CACHE])
    access.allow_anonymous(app.router.add_get("/", status.greeting))
    access.allow_anonymous(app.router.add_get("/health", status.health))
    for path, handler in static_files().items():
        access.allow_anonymous(app.router.add_get(path, handler))
    app.router.add_get("/metrics", MetricsPage(app[METRICS].registry).text)
    app.router.add_get("/messages", Messages(app[NOTIFIER]).recent)
    notifications = Notifications(app[NOTIFIER], app[SETTINGS].max_message_bytes)
    app.router.add_get("/notifications", notifications.retained)
    app.router.add_post("/notifications", notifications.publish)
    app.router.add_get("/events", Events(app[NOTIFIER], app[SETTINGS], access).stream)
    app.router.add_get("/ws", WebSocket(app[NOTIFIER], app[SETTINGS], access).connect)


async def _cache(app: web.Application) -> AsyncIterator[None]:
    await app[CACHE].start()
    await app[NOTIFIER].start()
    yield
    await app[CACHE].stop(app[HUB].complete_since())


async def _background(app: web.Application) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(each) for each in (app[HUB].expire_loop(), app[METRICS].watch_loop())
    ]
    if app[SETTINGS].heartbeat:
        tasks.append(asyncio.create_task(app[HUB].heartbeat(app[SETTINGS].heartbeat)))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _close(app: web.Application) -> None:
    await app[HUB].shutdown(app[SETTINGS].shutdown_grace)
