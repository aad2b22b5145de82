"""Resuming against a model: over expiry, eviction, forgetting, restarts, crashes, two servers."""

import asyncio
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aionotify.notifier import Page
from tests.support.stored import Process, stored

TOPICS = ("main", "other")
TTL = 2
HISTORY_LIMIT = 3
RECENT_LIMIT = 2


@dataclass
class Client:
    """A client that polls: its topic, its position, and how many were published then."""

    topic: str
    since: int
    seen: int
    crashes: int


class Resuming(RuleBasedStateMachine):
    """One or two servers on one memcached, and clients that go from one to the other.

    Soundness: an answer that claims to be complete has everything that was published since the
    client's position, by whichever server. Precision: with one server that never crashed since,
    it claims so whenever that is true, above all for a topic where nothing was published.
    """

    @initialize(servers=st.integers(1, 2), may_crash=st.booleans())
    def start(self, servers: int, may_crash: bool) -> None:
        self.may_crash = may_crash
        self.runner = asyncio.Runner()
        self.context = stored()
        self.clock = self.context.__enter__().clock
        self.published: dict[str, list[int]] = {topic: [] for topic in TOPICS}
        self.clients: list[Client] = []
        self.crashes = 0
        self.servers: list[Process] = []
        for _ in range(servers):
            self.servers.append(self.started())
        self.check()

    def started(self) -> Process:
        self.clock.now += 0.01
        process = Process(ttl=TTL, recent_limit=RECENT_LIMIT, history_limit=HISTORY_LIMIT)
        self.runner.run(process.broker.start())
        return process

    def check(self) -> None:
        """A second or two pass, in which the servers notice each other."""
        for server in self.servers * 2:
            self.runner.run(server.check())

    def server(self, which: int) -> Process:
        return self.servers[which % len(self.servers)]

    @rule(which=st.integers(0, 1), topic=st.sampled_from(TOPICS))
    def publish(self, which: int, topic: str) -> None:
        self.clock.now += 0.001
        text = str(len(self.published[topic]))
        publish = self.server(which).notifier.publish(text, topic, wait_stored=True)
        self.published[topic].append(self.runner.run(publish).id)

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass; the servers drop expired notifications."""
        self.clock.now += seconds
        for server in self.servers:
            self.runner.run(server.hub.expire())
        self.check()

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        which %= len(self.servers)
        self.runner.run(self.servers[which].broker.stop())
        self.servers[which] = self.started()
        self.check()

    @precondition(lambda self: self.may_crash)
    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        which %= len(self.servers)
        self.runner.run(self.servers[which].crash())
        self.crashes += 1
        self.servers[which] = self.started()
        self.check()

    @precondition(lambda self: len(self.clients) < 4)
    @rule(which=st.integers(0, 1), topic=st.sampled_from(TOPICS))
    def come(self, which: int, topic: str) -> None:
        page = self.runner.run(self.server(which).notifier.recent([topic]))
        seen = len(self.published[topic])
        self.clients.append(Client(topic, page.id, seen, self.crashes))

    @precondition(lambda self: self.clients)
    @rule(which=st.integers(0, 1), who=st.integers(0, 50))
    def come_back(self, which: int, who: int) -> None:
        client = self.clients[who % len(self.clients)]
        notifier = self.server(which).notifier
        page: Page = self.runner.run(notifier.since([client.topic], client.since))
        missing = self.published[client.topic][client.seen :]
        got = [each.id for each in page.notifications]
        assert got == sorted(set(got))
        everything = set(missing) <= set(got)
        assert everything or not page.complete
        if len(self.servers) == 1 and client.crashes == self.crashes:
            assert page.complete == everything
            assert not page.complete or got == missing
        client.since, client.seen = page.id, len(self.published[client.topic])
        client.crashes = self.crashes
        again = self.runner.run(notifier.since([client.topic], client.since))
        assert again == Page([], True, page.id), "a gap is told once"

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for server in self.servers:
                self.runner.run(server.broker.stop())
            self.context.__exit__(None, None, None)
            self.runner.close()


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
