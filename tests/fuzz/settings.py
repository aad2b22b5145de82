"""Settings with random values."""

import random

from aionotify.errors import SettingsError
from aionotify.settings import read_settings

NUMBERS = (
    "",
    " ",
    "0",
    "1",
    "-1",
    "65536",
    "9" * 30,
    "\u0661",
    "1_000",
    "+1",
    "0x10",
    "1e3",
    "nan",
)
ADDRESSES = ("localhost", "[::1]:11211", "[", "]", "a:b:c", "a,,b", "a b", "http://x", "*", "null")
TEXTS = ("../x", "https://app.example", "info", "x" * 16, "x" * 15, "é" * 20, "%s", "{}")
BROKEN = ("\ud800", "\x00", "\n")
VALUES = (*NUMBERS, *ADDRESSES, *TEXTS, *BROKEN)
VARIABLES = (
    *("AIONOTIFY_HOST", "AIONOTIFY_PORT", "MEMCACHED_HOST", "MEMCACHED_PORT"),
    *("AIONOTIFY_RECENT_LIMIT", "AIONOTIFY_HISTORY_LIMIT", "AIONOTIFY_MAX_MESSAGE_BYTES"),
    *("AIONOTIFY_HEARTBEAT", "AIONOTIFY_ADMIN_TOKEN", "AIONOTIFY_USER_TOKEN_FILE"),
    *("AIONOTIFY_ALLOWED_ORIGINS", "AIONOTIFY_TRUSTED_PROXIES", "AIONOTIFY_LOG_LEVEL"),
)


MAX_ERROR = 1000
"""Characters of an error message, however long the invalid value is."""


def check_random_settings(chance: random.Random) -> None:
    """Read random settings. AssertionError unless they are accepted or rejected in one line."""
    names = chance.sample(VARIABLES, chance.randrange(1, 4))
    value = "".join(chance.choices(VALUES, k=chance.choice((1, 1, 2, 3))))
    line = ""
    try:
        read_settings({}, None, dict.fromkeys(names, value))
    except SettingsError as error:
        line = str(error)
    assert "\n" not in line, (names, value)
    assert len(line) < MAX_ERROR, (names, value)
