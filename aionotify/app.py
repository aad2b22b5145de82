"""The application: its components, their start and stop, and the routes."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from aionotify.access import Access
from aionotify.broker.local import LocalBroker
from aionotify.cache import Cache
from aionotify.endpoints import events, messages, notifications, prometheus, status, ws
from aionotify.endpoints.ui import static_files
from aionotify.expiry import Expiry
from aionotify.http.query import topics_to_read
from aionotify.http.responses import errors_as_json
from aionotify.hub import Hub
from aionotify.idempotency import Idempotency
from aionotify.ids import IdSource
from aionotify.keys import (
    ACCESS,
    BROKER,
    CACHE,
    EXPIRY,
    HUB,
    IDEMPOTENCY,
    METRICS,
    NOTIFIER,
    RECEIVER,
    SETTINGS,
)
from aionotify.limits import connections_allowed
from aionotify.logs import log_requests
from aionotify.metrics import Metrics
from aionotify.notifier import Notifier
from aionotify.receiver import Receiver
from aionotify.rejections import count_rejections
from aionotify.settings import Settings


def create_app(settings: Settings | None = None) -> web.Application:
    """Return the application, to be run or to be mounted in another one with `add_subapp`."""
    app = web.Application()
    _add_components(app, settings or Settings())
    app.middlewares.extend(
        # The first is the outermost: it gets the request first and the response last.
        [
            # Outside of all others, to log the final status and the whole duration.
            log_requests(app[ACCESS]),
            # Outside of errors_as_json, because a page may read an error only with CORS headers.
            app[ACCESS].cors,
            # Turns every exception below into a response. Above it, nothing raises ours.
            errors_as_json,
            # Inside of errors_as_json, because it must see the exception and its reason.
            count_rejections(app[ACCESS], app[HUB]),
            # Innermost: its exceptions are counted, answered and logged by the others.
            app[ACCESS].authorize,
        ]
    )
    # aiohttp starts these in this order, and stops them in reverse. `on_shutdown` comes before: the
    # last messages of clients are published and stored while they are being closed.
    app.cleanup_ctx.append(_run_authenticator)
    app.cleanup_ctx.append(_run_broker)
    app.cleanup_ctx.append(_run_background_tasks)
    app.on_shutdown.append(_close_clients)
    _add_routes(app)
    return app


def create_metrics_app(app: web.Application) -> web.Application:
    """Return an application for a port of its own: `/health` and `/metrics` of `app`.

    The access rules are those of `app`.
    """
    own = web.Application(middlewares=app.middlewares)
    own[ACCESS], own[BROKER], own[HUB] = app[ACCESS], app[BROKER], app[HUB]
    own[METRICS], own[NOTIFIER] = app[METRICS], app[NOTIFIER]
    _add_probes(own)
    return own


def _add_components(app: web.Application, settings: Settings) -> None:
    app[SETTINGS] = settings
    app[ACCESS] = Access(settings)
    app[HUB] = Hub(
        max(settings.history_limit, settings.recent_limit),
        settings.recent_ttl,
        settings.max_connections or connections_allowed(),
        settings.history_bytes,
    )
    app[HUB].stats.addresses.limit = settings.max_connections_per_address
    if settings.nats_url is None:
        _add_local_broker(app, settings)
    else:
        _add_nats_broker(app, settings)
    app[NOTIFIER] = Notifier(
        app[HUB], app[BROKER], settings.max_message_bytes, settings.recent_limit
    )
    app[IDEMPOTENCY] = Idempotency()
    app[EXPIRY] = Expiry()
    app[RECEIVER] = Receiver(
        app[NOTIFIER],
        app[IDEMPOTENCY],
        app[ACCESS].authenticator.verify,
        publish_is_open=app[ACCESS].publish_is_open,
    )


def _add_local_broker(app: web.Application, settings: Settings) -> None:
    ids = IdSource()
    app[CACHE] = Cache(
        settings.memcached_addresses, settings.recent_limit, settings.recent_ttl, ids
    )
    app[BROKER] = LocalBroker(app[HUB], app[CACHE], ids)
    app[METRICS] = Metrics(app[HUB], cache=app[CACHE])


def _add_nats_broker(app: web.Application, settings: Settings) -> None:
    """Add a broker that shares a stream with other nodes, and no cache."""
    # Here, so that a single node neither needs nats-py nor spends memory on it.
    from aionotify.broker.nats import NatsBroker

    app[BROKER] = broker = NatsBroker(app[HUB], settings)
    app[METRICS] = Metrics(app[HUB], cluster=broker.stats)


def _add_routes(app: web.Application) -> None:
    """Add all routes, each with the tokens that it needs.

    One without any here, such as `/metrics`, needs a token for all topics, if any are configured.
    """
    get, access = app.router.add_get, app[ACCESS]
    _add_probes(app)
    access.allow_anonymous(get("/", status.greeting))
    for path, handler in static_files().items():
        access.allow_anonymous(get(path, handler))
    access.allow_subscribers(get("/messages", messages.recent), topics_to_read)
    access.allow_subscribers(get("/notifications", notifications.poll), topics_to_read)
    access.allow_publishers(app.router.add_post("/notifications", notifications.publish))
    access.allow_subscribers(get("/events", events.stream), topics_to_read)
    access.allow_subscribers(get("/ws", ws.connect), topics_to_read)


def _add_probes(app: web.Application) -> None:
    """Add the routes with which an operator looks at this process."""
    app[ACCESS].allow_anonymous(app.router.add_get("/health", status.health))
    app.router.add_get("/metrics", prometheus.metrics)


async def _run_authenticator(app: web.Application) -> AsyncIterator[None]:
    authenticator = app[ACCESS].authenticator
    # Not awaited: a slow provider of keys must not delay the start.
    task = asyncio.create_task(authenticator.start())
    yield
    await authenticator.stop()
    await asyncio.wait([task])


async def _run_broker(app: web.Application) -> AsyncIterator[None]:
    await app[BROKER].start()
    yield
    await app[BROKER].stop()


async def _run_background_tasks(app: web.Application) -> AsyncIterator[None]:
    hub = app[HUB]
    hub.open()  # again, if the application was stopped before
    coroutines = [
        hub.expire_loop(),
        hub.stats.incidents.settle_loop(lambda: hub.full),
        app[METRICS].watch_loop(),
        app[EXPIRY].loop(),
    ]
    if app[SETTINGS].heartbeat:
        coroutines.append(hub.heartbeat(app[SETTINGS].heartbeat))
    tasks = [asyncio.create_task(each) for each in coroutines]
    yield
    for task in tasks:
        task.cancel()
    # asyncio.wait and not gather: it raises neither CancelledError nor the error of a task that
    # failed, so the cache is still stopped.
    await asyncio.wait(tasks)


async def _close_clients(app: web.Application) -> None:
    await app[HUB].shutdown(app[SETTINGS].shutdown_grace)
