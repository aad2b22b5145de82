"""Measure our server and its peers in turns, in one run: `python -m tests.bench`.

Linux only. The exit status is 0 if our server delivered everything, however fast, and 1 if not.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import OURS, PEERS, Peer
from tests.bench.processes import Failure, prepare
from tests.bench.report import Report
from tests.bench.scenarios import Scenario, scenarios


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write the figures if asked to. Return the exit status."""
    if not sys.platform.startswith("linux"):
        print("The benchmark needs Linux: epoll for the load, /proc for CPU time and memory.")
        return 0
    options = _parser().parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 3)
    peers = [each for each in PEERS if not options.server or each.name in options.server]
    unavailable = {each.name: each.missing() for each in peers if each.missing()}
    report = Report(rounds, unavailable)
    most_clients = prepare()
    for scenario in scenarios(options.quick):
        if not options.scenario or scenario.name in options.scenario:
            present = [each for each in peers if each.name not in unavailable]
            _measure(scenario, present, min(scenario.clients, most_clients), report)
    print(report.table())
    if options.json:
        report.write(options.json)
    failed = any(OURS in servers for servers in report.failures.values()) or OURS in unavailable
    return 1 if failed else 0


def _measure(scenario: Scenario, peers: Sequence[Peer], clients: int, report: Report) -> None:
    if clients < scenario.clients:
        print(f"{scenario.name}: only {clients} clients: too few open files allowed (ulimit -Hn)")
    for number in range(report.rounds):
        for peer in peers:
            if not scenario.fits(peer):
                continue
            started = time.monotonic()
            try:
                report.add(scenario.name, peer.name, scenario.run(peer, clients))
            except (Failure, OSError) as error:
                report.fail(scenario.name, peer.name, str(error))
            spent = time.monotonic() - started
            message = f"{scenario.name} {number + 1}/{report.rounds} {peer.name}: {spent:.1f} s"
            print(message, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a short run, to check that everything is delivered"
    )
    parser.add_argument("--rounds", type=int, help="how often each scenario is measured (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        choices=[each.name for each in (*scenarios(False), *scenarios(True))],
        help="measure only this one; can be repeated",
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME",
        choices=[each.name for each in PEERS],
        help="measure only this one; can be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
