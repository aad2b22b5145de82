"""Medians, ratios, and the targets that they are compared with."""

import json
import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.peers import FASTAPI, LIMIT, NCHAN, OURS
from tests.bench.scenarios import Figures


@dataclass(frozen=True, slots=True)
class Target:
    """A required figure of our server, or a required ratio to the figure of a peer."""

    scenario: str
    figure: str
    peer: str
    """The peer to compare with. Empty to compare the figure itself."""
    required: float
    """The limit that must be met."""
    aim: float
    """The limit that we would like to meet. Its side of `required` says which way is better."""
    beside: str = ""
    """The scenario of the peer, if it differs."""

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.aim < self.required


TARGETS = (
    Target("one-5000", "deliveries/s", FASTAPI, 1.6, 2),
    Target("one-5000", "CPU µs/delivery", LIMIT, 1.35, 1.15),
    Target("json-5000", "CPU µs/delivery", OURS, 1.3, 1.1, "one-5000"),
    Target("events-5000", "CPU µs/delivery", OURS, 1.3, 1.1, "one-5000"),
    Target("burst", "deliveries/s", FASTAPI, 20, 30),
    Target("burst", "deliveries/s", NCHAN, 5, 9),
    Target("burst", "deliveries/s", LIMIT, 0.75, 0.9),
    Target("memory", "KiB/client", "", 13, 9),
    Target("storm", "clients/s", FASTAPI, 1.8, 2.5),
    # Answered by aiohttp: only the fan-out and publishing are optimized.
    Target("health", "requests/s", FASTAPI, 1.8, 2.5),
    Target("stalled", "beside/without", "", 1.2, 1.05),
    Target("health-under-load", "worst of 5, ms", "", 20, 10),
)


@dataclass(slots=True)
class Report:
    """The figures of every round, by scenario and server."""

    rounds: int
    unavailable: dict[str, str]
    """Servers that cannot run here, and why."""
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, scenario: str, server: str, figures: Figures) -> None:
        """Add the figures of one round."""
        self.figures.setdefault(scenario, {}).setdefault(server, []).append(figures)

    def fail(self, scenario: str, server: str, problem: str) -> None:
        """Record that a server did not deliver everything, so that its figures do not count."""
        self.failures.setdefault(scenario, {})[server] = problem

    def medians(self, scenario: str, server: str) -> Figures:
        """Return the median of each figure, or nothing if the server failed in any round."""
        rounds = self.figures.get(scenario, {}).get(server, [])
        if not rounds or server in self.failures.get(scenario, {}):
            return {}
        return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}

    def table(self) -> str:
        """Return the report as text."""
        lines = [f"{machine()}; medians of {self.rounds}; ratios are to {OURS}'s figure"]
        for scenario in self.figures | self.failures:
            lines += ["", scenario, *self._rows(scenario)]
        if self.unavailable:
            lines.append("")
        lines += [f"left out: {name} ({why})" for name, why in self.unavailable.items()]
        return "\n".join([*lines, "", *self._compared_with_targets()])

    def _rows(self, scenario: str) -> Iterator[str]:
        ours = self.medians(scenario, OURS)
        servers = self.figures.get(scenario, {}) | self.failures.get(scenario, {})
        for server in servers:
            cells = [
                f"{_number(value):>10} {name}" + (f" ({value / ours[name]:.2f})" if ours else "")
                for name, value in self.medians(scenario, server).items()
            ]
            text = "  ".join(cells) or "FAILED: " + self.failures[scenario][server]
            yield f"  {server:<22}{text}"

    def _compared_with_targets(self) -> Iterator[str]:
        for target in TARGETS:
            value = self.ratio(target)
            if value is None:
                continue
            met = value <= target.required if target.at_most else value >= target.required
            label = f"{target.scenario}, {target.figure}"
            peer = target.beside or target.peer
            label += f", against {peer}" if peer else ""
            sign = "≤" if target.at_most else "≥"
            yield (
                f"{label:<52}{value:>8.2f}  required {sign} {target.required:g}, "
                f"aim {target.aim:g}{'' if met else '  MISSED'}"
            )

    def ratio(self, target: Target) -> float | None:
        """Return our median, divided by the peer's if there is one; None if one is missing."""
        ours = self.medians(target.scenario, OURS)
        theirs = self.medians(target.beside or target.scenario, target.peer)
        if not ours or (target.peer and not theirs):
            return None
        return ours[target.figure] / (theirs[target.figure] if target.peer else 1)

    def write(self, path: Path) -> None:
        """Write all figures as JSON, including every round."""
        document = {
            "machine": machine(),
            "rounds": self.rounds,
            "left_out": self.unavailable,
            "failures": self.failures,
            "medians": {
                scenario: {server: self.medians(scenario, server) for server in servers}
                for scenario, servers in self.figures.items()
            },
            "figures": self.figures,
        }
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """Return a description of this machine."""
    cpu = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return (
        f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
