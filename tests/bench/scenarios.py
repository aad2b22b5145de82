"""What is measured, each on a server started for it. Every delivery is verified by its bytes."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.clients import Crowd, frame_size, text_frame
from tests.bench.health import Probe, requests_per_second
from tests.bench.peers import Peer
from tests.bench.processes import Server, running

LENGTH = 64
LIVE, RECENT = "[Notification] ", "[Recent] "
RECENTS = 5

WARM_UP = 3
"""Messages that are sent before those that count."""

ENOUGH = 1.0
"""Seconds after which a fast server need not be sent more than the messages agreed on."""

BURST = 50
BIG, BIG_COUNT = 32 * 1024, 128
"""What fills the buffers of clients that do not read: the 4 MiB that Linux allows a socket."""

STALLED_SECONDS = 5.0
"""How long a message may take with stalled clients before delivery counts as stopped."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that is measured; `run` answers its figures, or raises Failure or OSError."""

    name: str
    clients: int
    run: Callable[[Peer, int], Figures]
    fits: Callable[[Peer], bool] = lambda peer: True


def scenarios(quick: bool) -> Iterator[Scenario]:
    """All of them, in order; `quick` ones are too short for figures that mean anything."""
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
"""Clients, and messages one after another to all of them."""


@dataclass(frozen=True, slots=True)
class _Format:
    """A way of listening: what a client is sent for one recent, and for each message after it."""

    path: str
    welcome: int
    live: int


_OBJECT = len(
    '{"type":"notification","id":"1763884800000000","time":"2025-11-23T08:00:00.000Z",'
    '"topic":"main","message":""}'
)
_JSON, _JSON_RECENT = _OBJECT + LENGTH, _OBJECT + LENGTH + len(',"recent":true')
_EVENT = len("id: 1763884800000000\ndata: \n\n")

_FORMATS = {
    "json": _Format("/ws?format=json", frame_size(_JSON_RECENT), frame_size(_JSON)),
    "events": _Format("/events", len("retry: 2000\n\n") + _EVENT + _JSON_RECENT, _EVENT + _JSON),
}


class _Room:
    """A server, its clients, and what was published so far."""

    def __init__(self, peer: Peer, server: Server, crowd: Crowd) -> None:
        self.server = server
        self.crowd = crowd
        self._plain = peer.plain
        self._recents = RECENTS if peer.recents else 0
        self._published = 0
        self._format: _Format | None = None
        self.publish()  # nchan aborts where somebody waits for recents of a topic without any

    def publish(self, count: int = 1, length: int = LENGTH, seconds: float = 20) -> float:
        """`count` messages to all, at once: seconds until the last client had all of them."""
        prefix = LIVE if self._plain else ""
        frames = b""
        for _ in range(count):
            self._published += 1
            frames += text_frame(f"{prefix}{self._published:0{length}}")
        each = self._format.live if self._format else frame_size(len(LIVE) + length)
        size = count * each
        started = time.perf_counter()
        self.crowd.publish(frames)
        return self.crowd.receive(size, seconds) - started

    def connect_with(self, form: _Format, clients: int) -> None:
        """So many clients, all of which listen in this way."""
        self._format = form
        self.crowd.connect(clients, form.welcome, path=form.path)

    def connect(self, clients: int) -> float:
        """So many clients more, each with its recents: seconds until the last had them."""
        prefix = LIVE if self._plain else RECENT
        size = min(self._recents, self._published) * frame_size(len(prefix) + LENGTH)
        started = time.perf_counter()
        self.crowd.connect(clients, size)
        return time.perf_counter() - started


def _rooms(scenario: Callable[[_Room, int], Figures]) -> Callable[[Peer, int], Figures]:
    """Start a server and connect a publisher for `scenario`, and end both."""

    def run(peer: Peer, clients: int) -> Figures:
        with running(peer) as server, Crowd(server.port, peer.publish_path) as crowd:
            return scenario(_Room(peer, server, crowd), clients)

    return run


def _one_message(messages: int, form: _Format | None = None) -> Callable[[Peer, int], Figures]:
    def scenario(room: _Room, clients: int) -> Figures:
        if form:
            room.connect_with(form, clients)
        else:
            room.connect(clients)
        return _rate(room, clients, messages, 1)

    return _rooms(scenario)


def _bursts(bursts: int) -> Callable[[Peer, int], Figures]:
    def scenario(room: _Room, clients: int) -> Figures:
        room.connect(clients)
        return _rate(room, clients, bursts, BURST)

    return _rooms(scenario)


def _rate(room: _Room, clients: int, times: int, messages: int) -> Figures:
    for _ in range(WARM_UP):
        room.publish()
    before = room.server.cpu_seconds()
    seconds: list[float] = []
    while len(seconds) < times or (sum(seconds) < ENOUGH and len(seconds) < 20 * times):
        seconds.append(room.publish(messages))
    used = room.server.cpu_seconds() - before
    deliveries = clients * messages
    return {
        "deliveries/s": deliveries / statistics.median(seconds),
        "CPU µs/delivery": used * 1e6 / (deliveries * len(seconds)),
    }


@_rooms
def _storm(room: _Room, clients: int) -> Figures:
    for _ in range(RECENTS):
        room.publish()
    room.connect(10)
    seconds = room.connect(clients)
    room.publish()
    return {"clients/s": clients / seconds}


@_rooms
def _memory(room: _Room, clients: int) -> Figures:
    before = room.server.resident_bytes()
    room.connect(clients)
    after = room.server.resident_bytes()
    room.publish()
    return {"KiB/client": (after - before) / clients / 1024}


def _stalled(messages: int) -> Callable[[Peer, int], Figures]:
    """As many healthy clients both times, then a ninth of that added who read nothing."""

    def scenario(room: _Room, clients: int) -> Figures:
        room.connect(clients)
        for _ in range(WARM_UP):
            room.publish()
        healthy = [room.publish() for _ in range(messages)]
        room.crowd.connect_stalled(clients // 9)
        for _ in range(BIG_COUNT):
            room.publish(1, BIG, STALLED_SECONDS)
        stalled = [room.publish(seconds=STALLED_SECONDS) for _ in range(messages)]
        without, beside = _percentile_99(healthy), _percentile_99(stalled)
        return {
            "p99 ms without": without * 1e3,
            "p99 ms beside": beside * 1e3,
            "beside/without": beside / without,
        }

    return _rooms(scenario)


def _percentile_99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def _health(seconds: float) -> Callable[[Peer, int], Figures]:
    def scenario(room: _Room, clients: int) -> Figures:
        return {"requests/s": requests_per_second(room.server.port, seconds)}

    return _rooms(scenario)


@_rooms
def _health_under_load(room: _Room, clients: int) -> Figures:
    room.connect(clients)
    room.publish()
    probe = Probe(room.crowd)
    for number in range(1, 6):
        room.publish()
        room.crowd.wait_for(lambda number=number: len(probe.seconds) == number)  # type: ignore[misc]
    return {"worst of 5, ms": max(probe.seconds) * 1e3}
