"""A memcached that answers a part of all commands with garbage."""

import random

from tests.fuzz.mutation import mutated
from tests.support.fault_server import Command, FakeMemcached

ANSWERS = (
    b"END\r\n",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"EXISTS\r\n",
    b"NOT_FOUND\r\n",
    b"ERROR\r\n",
    b"SERVER_ERROR out of memory storing object\r\n",
    b"CLIENT_ERROR bad data chunk\r\n",
    b"VERSION 1.6.0\r\n",
    b"VALUE aionotify:1:recent:main 0 2 7\r\n{}\r\nEND\r\n",
    b'VALUE aionotify:1:recent:main 0 19 7\r\n{"notifications":1}\r\nEND\r\n',
    b"VALUE aionotify:1:recent:main 0 100000 7\r\n" + b"[" * 100_000 + b"\r\nEND\r\n",
    b"VALUE aionotify:1:recent:main 0 99999999999 7\r\n",
    b"VALUE aionotify:1:recent:main 0 -1 7\r\nEND\r\n",
    b"VALUE " + b"k" * 300 + b" 0 1 1\r\nx\r\nEND\r\n",
    b"x" * 100_000,
    b"\r\n" * 1000,
    b"\x00\xff\x80\r\n",
    b"",
)

DOCUMENTS = (
    b'{"floor":1,"notifications":[{"id":1,"time":1,"message":"x"}]}',
    b'{"floor":"1","notifications":[{"id":"1","time":-1,"message":1}]}',
    b'{"floor":9007199254740993,"notifications":[{"id":99999999999999999999,"time":1e999}]}',
    b'{"notifications":[null,[],{}]}',
    b'{"floor":1,"sealed":true,"notifications":[{"id":1,"time":1,"message":"\\ud800"}]}',
)


OBEYED = 0.6
"""The share of commands that are obeyed."""

BROKEN_DOCUMENTS = 0.15
"""The share of reads that return a mutated document."""

CLOSED = 0.03
"""The share of commands that end the connection. The rest get any answer, complete or mutated."""


def fuzzed_memcached(chance: random.Random) -> FakeMemcached:
    """Return a memcached that misbehaves at random."""

    async def fault(command: Command) -> None:
        kind = chance.random()
        if kind < OBEYED:
            await command.server.obey(command)
        elif kind < OBEYED + BROKEN_DOCUMENTS and command.name == b"gets":
            value = mutated(chance, DOCUMENTS)
            head = b"VALUE %b 0 %d %d\r\n" % (command.key, len(value), chance.randrange(1 << 64))
            await command.answer(head + value + b"\r\nEND\r\n")
        elif kind < 1 - CLOSED:
            await command.answer(mutated(chance, ANSWERS))
        else:
            raise ConnectionResetError

    return FakeMemcached(fault)
