"""Helpers that the tests share, one module per concern.

Import from the modules or from here; the parts of a hand-turned event loop (`loop`, `transport`,
`builders`, `frames`) and the faulty memcached (`fault_server`) are imported from their modules.
"""

from tests.support.http import Answer, converse, exchange
from tests.support.memcached import MemcachedProcess
from tests.support.paths import ROOT
from tests.support.server import ServerProcess, running_server
from tests.support.settings import alone
from tests.support.waiting import eventually, free_port, turning_loop

__all__ = [
    "ROOT",
    "Answer",
    "MemcachedProcess",
    "ServerProcess",
    "alone",
    "converse",
    "eventually",
    "exchange",
    "free_port",
    "running_server",
    "turning_loop",
]
