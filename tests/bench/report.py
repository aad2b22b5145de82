"""Medians, ratios, and what they are held against."""

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
    """A figure of ours, or its ratio to that of a peer."""

    scenario: str
    figure: str
    peer: str
    required: float
    aim: float
    beside: str = ""
    """The peer's scenario, if it is another one."""

    @property
    def at_most(self) -> bool:
        """Less is better."""
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
    Target("health", "requests/s", FASTAPI, 3, 3.5),
    Target("stalled", "beside/without", "", 1.2, 1.05),
    Target("health-under-load", "worst of 5, ms", "", 20, 10),
)


@dataclass(slots=True)
class Report:
    """What was measured: for each scenario and server, the figures of every round."""

    rounds: int
    left_out: dict[str, str]
    """Servers that could not run here, and why."""
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, scenario: str, server: str, figures: Figures) -> None:
        """One more round."""
        self.figures.setdefault(scenario, {}).setdefault(server, []).append(figures)

    def fail(self, scenario: str, server: str, problem: str) -> None:
        """A server did not deliver everything: its figures of this scenario do not count."""
        self.failures.setdefault(scenario, {})[server] = problem

    def medians(self, scenario: str, server: str) -> Figures:
        """Over the rounds; nothing where it failed in one."""
        rounds = self.figures.get(scenario, {}).get(server, [])
        if not rounds or server in self.failures.get(scenario, {}):
            return {}
        return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}

    def table(self) -> str:
        """All of it, for people."""
        lines = [f"{machine()}; medians of {self.rounds}; ratios are to {OURS}'s figure"]
        for scenario in self.figures | self.failures:
            lines += ["", scenario, *self._rows(scenario)]
        if self.left_out:
            lines.append("")
        lines += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        return "\n".join([*lines, "", *self._held_against()])

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

    def _held_against(self) -> Iterator[str]:
        for target in TARGETS:
            value = self.ratio(target)
            if value is None:
                continue
            met = value <= target.required if target.at_most else value >= target.required
            what = f"{target.scenario}, {target.figure}"
            peer = target.beside or target.peer
            what += f", against {peer}" if peer else ""
            sign = "≤" if target.at_most else "≥"
            yield (
                f"{what:<52}{value:>8.2f}  required {sign} {target.required:g}, "
                f"aim {target.aim:g}{'' if met else '  MISSED'}"
            )

    def ratio(self, target: Target) -> float | None:
        """Our median by the peer's, or ours alone; None where one was not measured."""
        ours = self.medians(target.scenario, OURS)
        theirs = self.medians(target.beside or target.scenario, target.peer)
        if not ours or (target.peer and not theirs):
            return None
        return ours[target.figure] / (theirs[target.figure] if target.peer else 1)

    def write(self, path: Path) -> None:
        """Everything as JSON, every round included."""
        document = {
            "machine": machine(),
            "rounds": self.rounds,
            "left_out": self.left_out,
            "failures": self.failures,
            "medians": {
                scenario: {server: self.medians(scenario, server) for server in servers}
                for scenario, servers in self.figures.items()
            },
            "figures": self.figures,
        }
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """What it was measured on."""
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
