"""`python -m tests.bench`: our server and every peer, in turns, in one sitting.

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
    """Measure, print, write."""
    if not sys.platform.startswith("linux"):
        print("The benchmark needs Linux: epoll, and /proc for what a server uses.")
        return 0
    options = _parser().parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 3)
    peers = [each for each in PEERS if not options.server or each.name in options.server]
    left_out = {each.name: each.missing() for each in peers if each.missing()}
    report = Report(rounds, left_out)
    room = prepare()
    for scenario in scenarios(options.quick):
        if not options.scenario or scenario.name in options.scenario:
            present = [each for each in peers if each.name not in left_out]
            _measure(scenario, present, min(scenario.clients, room), report)
    print(report.table())
    if options.json:
        report.write(options.json)
    failed = any(OURS in servers for servers in report.failures.values()) or OURS in left_out
    return 1 if failed else 0


def _measure(scenario: Scenario, peers: Sequence[Peer], clients: int, report: Report) -> None:
    if clients < scenario.clients:
        print(f"{scenario.name}: only {clients} clients, because of the file limit (ulimit -Hn)")
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
    parser.add_argument("--quick", action="store_true", help="short: does it run and deliver all?")
    parser.add_argument("--rounds", type=int, help="how often each is measured (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        choices=[each.name for each in (*scenarios(False), *scenarios(True))],
        help="only this one; may be given several times",
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME",
        choices=[each.name for each in PEERS],
        help="only this one; may be given several times",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
