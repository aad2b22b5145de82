"""The scenarios, each on a server started for it. Every delivery is verified by its size."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.clients import Crowd, frame_size
from tests.bench.health import Probe, requests_per_second
from tests.bench.peers import Peer
from tests.bench.processes import Server, running
from tests.support.raw_client import client_frame

LENGTH = 64
"""Characters of a message."""

LIVE, RECENT = "[Notification] ", "[Recent] "
RECENTS = 5
"""Recent notifications that a new client gets."""

WARM_UP = 3
"""Messages that are sent before the measurement."""

ENOUGH = 1.0
"""Seconds that a measurement takes at least: a fast server is sent more messages."""

BURST = 50
"""Messages of a burst."""

BIG, BIG_COUNT = 32 * 1024, 128
"""Bytes and number of the messages that fill the buffers of clients that do not read: Linux grows
the send buffer of a socket to 4 MiB."""

STALLED_SECONDS = 5.0
"""Seconds that a message may take beside stalled clients before delivery counts as stopped."""

Figures = dict[str, float]
"""Measured values by name."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A measurement. `run` returns its figures, or raises Failure or OSError."""

    name: str
    clients: int
    run: Callable[[Peer, int], Figures]
    fits: Callable[[Peer], bool] = lambda peer: True
    """Whether a peer has the features that are measured."""


def scenarios(quick: bool) -> Iterator[Scenario]:
    """Yield all scenarios. `quick` ones are too short for meaningful figures."""
    for count, messages in ((100, 20),) if quick else _MESSAGES:
        yield Scenario(f"one-{count}", count, _one_message(messages))
    for name, form in _FORMATS.items():
        count, messages = (100, 20) if quick else (5000, 30)
        run = _one_message(messages, form)
        yield Scenario(f"{name}-{count}", count, run, lambda peer: peer.formats)
    yield Scenario("burst", 100 if quick else 1000, _bursts(2 if quick else 10))
    yield Scenario("storm", 200 if quick else 2000, _storm, lambda peer: peer.recents)
    yield Scenario("memory", 200 if quick else 5000, _memory)
    stalled = _stalled(20 if quick else 300)
    yield Scenario("stalled", 90 if quick else 900, stalled, lambda peer: peer.stalls)
    health = _health(0.2 if quick else 2.0)
    yield Scenario("health", 0, health, lambda peer: peer.health)
    under_load = 100 if quick else 15_000
    yield Scenario("health-under-load", under_load, _health_under_load, lambda peer: peer.health)


_MESSAGES = ((100, 200), (1000, 60), (5000, 30), (15_000, 10))
"""Numbers of clients, and of messages sent one after another to all of them."""


@dataclass(frozen=True, slots=True)
class _Format:
    """A client format: its path, and the bytes for one recent notification and each live one."""

    path: str
    welcome: int
    live: int


_OBJECT = len(
    '{"type":"notification","id":"1763884800000000","time":"2025-11-23T08:00:00.000Z",'
    '"topic":"main","message":""}'
)
_JSON, _JSON_RECENT = _OBJECT + LENGTH, _OBJECT + LENGTH + len(',"recent":true')
_SUBSCRIBED = len('{"type":"subscribed","topics":["main"],"id":"1763884800000000"}')
_EVENT = len("id: 1763884800000000\ndata: \n\n")


def _chunk(length: int) -> int:
    """Return the size of a chunk that carries `length` bytes (RFC 9112 §7.1)."""
    return len(f"{length:x}\r\n\r\n") + length


_FORMATS = {
    "json": _Format(
        "/ws?format=json", frame_size(_JSON_RECENT) + frame_size(_SUBSCRIBED), frame_size(_JSON)
    ),
    "events": _Format(
        "/events",
        _chunk(len("retry: 2000\n"))
        + _chunk(_EVENT + _JSON_RECENT)
        + _chunk(len("event: subscribed\n") + _EVENT + _SUBSCRIBED),
        _chunk(_EVENT + _JSON),
    ),
}


class _Session:
    """A server, its clients, and the number of messages published so far."""

    def __init__(self, peer: Peer, server: Server, crowd: Crowd) -> None:
        self.server = server
        self.crowd = crowd
        self._plain = peer.plain
        self._recents = RECENTS if peer.recents else 0
        self._published = 0
        self._format: _Format | None = None
        # nchan aborts if a client waits for recent messages of a channel that has none.
        self.publish()

    def publish(self, count: int = 1, length: int = LENGTH, seconds: float = 20) -> float:
        """Publish `count` messages at once. Return the seconds until all clients had them all."""
        prefix = LIVE if self._plain else ""
        frames = b""
        for _ in range(count):
            self._published += 1
            frames += client_frame(f"{prefix}{self._published:0{length}}")
        each = self._format.live if self._format else frame_size(len(LIVE) + length)
        size = count * each
        started = time.perf_counter()
        self.crowd.publish(frames)
        return self.crowd.receive(size, seconds) - started

    def connect_with(self, form: _Format, clients: int) -> None:
        """Connect `clients` that use a certain format."""
        self._format = form
        self.crowd.connect(clients, form.welcome, path=form.path)

    def connect(self, clients: int) -> float:
        """Connect `clients` more. Return the seconds until all had their recent notifications."""
        prefix = LIVE if self._plain else RECENT
        size = min(self._recents, self._published) * frame_size(len(prefix) + LENGTH)
        started = time.perf_counter()
        self.crowd.connect(clients, size)
        return time.perf_counter() - started


def _on_server(scenario: Callable[[_Session, int], Figures]) -> Callable[[Peer, int], Figures]:
    """Return a scenario that gets a server of its own and a publisher."""

    def run(peer: Peer, clients: int) -> Figures:
        with running(peer) as server, Crowd(server.port, peer.publish_path) as crowd:
            return scenario(_Session(peer, server, crowd), clients)

    return run


def _one_message(messages: int, form: _Format | None = None) -> Callable[[Peer, int], Figures]:
    def scenario(session: _Session, clients: int) -> Figures:
        if form:
            session.connect_with(form, clients)
        else:
            session.connect(clients)
        return _rate(session, clients, messages, 1)

    return _on_server(scenario)


def _bursts(bursts: int) -> Callable[[Peer, int], Figures]:
    def scenario(session: _Session, clients: int) -> Figures:
        session.connect(clients)
        return _rate(session, clients, bursts, BURST)

    return _on_server(scenario)


def _rate(session: _Session, clients: int, times: int, messages: int) -> Figures:
    for _ in range(WARM_UP):
        session.publish()
    before = session.server.cpu_seconds()
    seconds: list[float] = []
    while len(seconds) < times or (sum(seconds) < ENOUGH and len(seconds) < 20 * times):
        seconds.append(session.publish(messages))
    used = session.server.cpu_seconds() - before
    deliveries = clients * messages
    return {
        "deliveries/s": deliveries / statistics.median(seconds),
        "CPU µs/delivery": used * 1e6 / (deliveries * len(seconds)),
    }


@_on_server
def _storm(session: _Session, clients: int) -> Figures:
    # Without a client that receives them, nothing shows that the messages have been handled.
    session.connect(1)
    for _ in range(RECENTS):
        session.publish()
    session.connect(10)
    seconds = session.connect(clients)
    session.publish()
    return {"clients/s": clients / seconds}


@_on_server
def _memory(session: _Session, clients: int) -> Figures:
    before = session.server.resident_bytes()
    session.connect(clients)
    after = session.server.resident_bytes()
    session.publish()
    return {"KiB/client": (after - before) / clients / 1024}


def _stalled(messages: int) -> Callable[[Peer, int], Figures]:
    """Measure healthy clients alone, and beside a ninth of their number that read nothing."""

    def scenario(session: _Session, clients: int) -> Figures:
        session.connect(clients)
        for _ in range(WARM_UP):
            session.publish()
        healthy = [session.publish() for _ in range(messages)]
        session.crowd.connect_stalled(clients // 9)
        for _ in range(BIG_COUNT):
            session.publish(1, BIG, STALLED_SECONDS)
        stalled = [session.publish(seconds=STALLED_SECONDS) for _ in range(messages)]
        without, beside = _percentile_99(healthy), _percentile_99(stalled)
        return {
            "p99 ms without": without * 1e3,
            "p99 ms beside": beside * 1e3,
            "beside/without": beside / without,
        }

    return _on_server(scenario)


def _percentile_99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def _health(seconds: float) -> Callable[[Peer, int], Figures]:
    def scenario(session: _Session, clients: int) -> Figures:
        return {"requests/s": requests_per_second(session.server.port, seconds)}

    return _on_server(scenario)


@_on_server
def _health_under_load(session: _Session, clients: int) -> Figures:
    session.connect(clients)
    session.publish()
    probe = Probe(session.crowd)
    for number in range(1, 6):
        session.publish()
        session.crowd.wait_for(lambda number=number: len(probe.seconds) == number)  # type: ignore[misc]
    return {"worst of 5, ms": max(probe.seconds) * 1e3}
