"""Settings: their defaults and sources, and the line that rejects an invalid value."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.errors import SettingsError
from aionotify.net import Address
from aionotify.settings import Settings, read_settings

TTL = "whole seconds from 1 to 2592000 (30 days, the longest that memcached keeps)"


class Case(NamedTuple):
    """A setting with its variable, its default, and valid and invalid values."""

    field: str
    variable: str
    default: object
    expected: str
    good: Mapping[str, object]
    bad: list[str]


NOT_NUMBERS = ["-1", "1.5", "1e3", "0x10", "+5", "1_000", "five", "٣", "²", "1 2", "None"]


def number(variable: str, default: int, low: int, high: int, expected: str) -> Case:
    """Return the case of a whole number from `low` to `high`."""
    inside = [low, low + 1, high]
    good = {**{f"{each}": each for each in inside}, f" {high} ": high}
    bad = [f"{high + 1}", *NOT_NUMBERS] if low == 0 else [f"{high + 1}", *NOT_NUMBERS, f"{low - 1}"]
    field = variable.removeprefix("AIONOTIFY_").lower()
    return Case(field, variable, default, expected, good, bad)


CASES = [
    Case(
        "host",
        "AIONOTIFY_HOST",
        "localhost",
        "a host name or an address without a port, or several separated by commas",
        {
            "0.0.0.0": "0.0.0.0",
            "::1": "::1",
            " a.example ": "a.example",
            "[::1]": "::1",
            "::": "::",
            "localhost , [fe80::1],10.0.0.1": "localhost,fe80::1,10.0.0.1",
        },
        [
            *("a b", "http://a", "me@a", "a\tb", "a\0b", "x" * 64, "a..b", "a,", ",a", "a,,b"),
            *("a:80", "[::1", "::1]", "[a]", "[]", "[::1]:80"),
        ],
    ),
    number("AIONOTIFY_PORT", 8000, 0, 65535, "a port from 0 to 65535"),
    Case(
        "reuse_port",
        "AIONOTIFY_REUSE_PORT",
        False,
        "on or off",
        {"on": True, "OFF": False, "1": True, "no": False, " True ": True},
        ["2", "enabled", "on,off", "None"],
    ),
    number("AIONOTIFY_METRICS_PORT", 0, 1, 65535, "a port from 1 to 65535"),
    Case(
        "memcached_hosts",
        "MEMCACHED_HOST",
        (),
        "host or host:port, several separated by commas",
        {
            "a": (Address("a", 0),),
            "a:1": (Address("a", 1),),
            "a,b:11300": (Address("a", 0), Address("b", 11300)),
            " a , [::1]:2 , [::2],::3": (
                *(Address("a", 0), Address("::1", 2), Address("::2", 0), Address("::3", 0)),
            ),
        },
        [
            *("a:", ":1", ",", "a,", "a,,b", "a:0", "a:65536", "a:b", "a b", "http://a", "[::1"),
            *("[]:1", "[::1]1", "a/b", "me@a:1", "x" * 64, "a..b:1"),
        ],
    ),
    number("MEMCACHED_PORT", 11211, 1, 65535, "a port from 1 to 65535"),
    number("AIONOTIFY_RECENT_LIMIT", 5, 1, 1000, "a whole number from 1 to 1000"),
    number("AIONOTIFY_RECENT_TTL", 3600, 1, 2592000, TTL),
    number("AIONOTIFY_HISTORY_LIMIT", 1000, 1, 1000000, "a whole number from 1 to 1000000"),
    number("AIONOTIFY_MAX_MESSAGE_BYTES", 65536, 1, 1048576, "bytes from 1 to 1048576 (1 MiB)"),
    number("AIONOTIFY_MAX_CONNECTIONS", 0, 1, 1000000, "a whole number from 1 to 1000000"),
    number("AIONOTIFY_HEARTBEAT", 25, 0, 3600, "whole seconds from 0 to 3600 (0 turns pings off)"),
    number("AIONOTIFY_STALL_TIMEOUT", 30, 1, 3600, "whole seconds from 1 to 3600"),
    number("AIONOTIFY_SHUTDOWN_GRACE", 5, 0, 300, "whole seconds from 0 to 300"),
    Case(
        "log_level",
        "AIONOTIFY_LOG_LEVEL",
        "info",
        "debug, info, warning or error",
        {"debug": "debug", "INFO": "info", " Warning ": "warning", "error": "error"},
        ["verbose", "10", "info,debug", "critical"],
    ),
    Case(
        "log_format",
        "AIONOTIFY_LOG_FORMAT",
        "text",
        "text or json",
        {"text": "text", "JSON": "json", " Text ": "text"},
        ["xml", "text,json", "1"],
    ),
]

every_setting = pytest.mark.parametrize("case", CASES, ids=[case.variable for case in CASES])


def read(environ: dict[str, str], **flags: str) -> Settings:
    """Return the settings from `environ` and `flags`."""
    return read_settings(flags, None, {"HOME": "/", **environ})[0]


def test_contract_settings_exist() -> None:
    assert {case.field for case in CASES} <= {each.name for each in fields(Settings)}


@every_setting
def test_default_applies(case: Case) -> None:
    assert getattr(Settings(), case.field) == case.default
    assert getattr(read({}), case.field) == case.default


@every_setting
def test_valid_value_is_read(case: Case) -> None:
    for text, value in case.good.items():
        settings = read({case.variable: text})
        assert getattr(settings, case.field) == value
        others = {case.field: case.default}
        assert replace(settings, **others) == Settings()  # type: ignore[arg-type]  # any field


@every_setting
def test_invalid_value_is_explained(case: Case) -> None:
    for text in case.bad:
        with pytest.raises(SettingsError) as caught:
            read({case.variable: text})
        assert str(caught.value) == (
            f"{case.variable}: invalid value {text!r} (expected {case.expected})"
        )


@every_setting
def test_empty_value_counts_as_unset(case: Case, folder: Path) -> None:
    text, value = next(iter(case.good.items()))
    (folder / ".env").write_text(f'{case.variable}="{text}"\n', encoding="utf-8")
    for empty in ("", " ", "\t\n"):
        settings = read({case.variable: empty}, **{case.field: empty})
        assert getattr(settings, case.field) == value
    for empty in ("", "''", '"  "'):
        (folder / ".env").write_text(f"{case.variable}={empty}\n", encoding="utf-8")
        assert read({}) == Settings()


@every_setting
def test_flag_beats_environment_beats_file(case: Case, folder: Path) -> None:
    texts = iter([*case.good, *case.good])
    file, environment, flag = next(texts), next(texts), next(texts)
    (folder / ".env").write_text(f'{case.variable}="{file}"\n', encoding="utf-8")
    assert getattr(read({}), case.field) == case.good[file]
    assert getattr(read({case.variable: environment}), case.field) == case.good[environment]
    settings = read({case.variable: environment}, **{case.field: flag})
    assert getattr(settings, case.field) == case.good[flag]


ANYTHING = st.one_of(
    st.text(max_size=300),
    st.text("0123456789", max_size=25),
    st.text("ab.:,[]0123 /@", max_size=30),
    st.integers().map(str),
)


@every_setting
@given(text=ANYTHING)
def test_any_text_is_read_or_rejected_in_one_line(case: Case, text: str) -> None:
    try:
        value: Any = getattr(read({case.variable: text}), case.field)
    except SettingsError as error:
        line = str(error)
        assert len(line.splitlines()) == 1
        assert line.startswith(f"{case.variable}: invalid value ")
        assert line.endswith(f" (expected {case.expected})")
        assert len(line) < 1200
    else:
        assert type(value) is type(case.default)


def test_long_value_is_shortened() -> None:
    with pytest.raises(SettingsError) as caught:
        read({"AIONOTIFY_PORT": "x" * 5000})
    assert f"invalid value '{'x' * 100}…' (expected" in str(caught.value)


def test_equal_ports_are_rejected() -> None:
    for environ in ({"AIONOTIFY_PORT": "9001"}, {}):
        port = environ.get("AIONOTIFY_PORT", "8000")
        with pytest.raises(SettingsError) as caught:
            read({**environ, "AIONOTIFY_METRICS_PORT": port})
        assert str(caught.value) == (
            f"AIONOTIFY_METRICS_PORT: {port} is the port of AIONOTIFY_PORT as well (expected "
            "another one)"
        )


def test_memcached_addresses_get_default_port() -> None:
    assert [str(each) for each in read({}).memcached_addresses] == [
        "localhost:11211",
        "memcached:11211",
    ]
    assert [str(each) for each in read({"MEMCACHED_PORT": "1"}).memcached_addresses] == [
        "localhost:1",
        "memcached:1",
    ]
    named = read({"MEMCACHED_HOST": "a,b:11300,[::1]:3,::2", "MEMCACHED_PORT": "7"})
    assert [str(each) for each in named.memcached_addresses] == [
        *("a:7", "b:11300", "[::1]:3", "[::2]:7")
    ]


def test_env_file_syntax(folder: Path) -> None:
    (folder / ".env").write_text(
        "# a comment\r\n\nexport AIONOTIFY_PORT=1234 # the port\nMEMCACHED_HOST='a, b'\nOTHER=1\n",
        encoding="utf-8",
    )
    settings, hints = read_settings({}, None, {"HOME": "/"})
    assert settings.port == 1234
    assert settings.memcached_hosts == (Address("a", 0), Address("b", 0))
    assert hints == []


def test_env_file_replaces_default_file(folder: Path) -> None:
    (folder / ".env").write_text("AIONOTIFY_PORT=1\nAIONOTIFY_HEARTBEAT=1\n", encoding="utf-8")
    other = folder / "production.env"
    other.write_text("AIONOTIFY_PORT=2\n", encoding="utf-8")
    assert read_settings({}, other, {"HOME": "/"})[0] == Settings(port=2)


def test_missing_env_file_is_rejected(folder: Path) -> None:
    for path in (folder / "nowhere.env", folder):
        with pytest.raises(SettingsError) as caught:
            read_settings({}, path, {"HOME": "/"})
        assert str(caught.value) == f"--env-file: {str(path)!r} is not a file"


def test_binary_env_file_is_rejected(folder: Path) -> None:
    (folder / ".env").write_bytes(b"AIONOTIFY_PORT=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: ") as caught:
        read({})
    assert len(str(caught.value).splitlines()) == 1


def test_empty_environ_is_not_process_environ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIONOTIFY_PORT", "1234")
    assert read_settings({}, None, {})[0].port == 8000
    assert read_settings({}, None)[0].port == 1234


def test_settings_are_immutable() -> None:
    with pytest.raises(AttributeError, match=re.compile("assign|frozen")):
        Settings().port = 1  # type: ignore[misc]


def test_allowed_origins_are_parsed() -> None:
    text = "https://App.example, http://localhost:3000,*"
    assert read({"AIONOTIFY_ALLOWED_ORIGINS": text}).allowed_origins == (
        ("https", "app.example", 443),
        ("http", "localhost", 3000),
        "*",
    )
    for text in ("app.example", "https://app.example/", "https://*.example", "Null", "http://a b"):
        with pytest.raises(SettingsError, match=r"AIONOTIFY_ALLOWED_ORIGINS: .*example"):
            read({"AIONOTIFY_ALLOWED_ORIGINS": text})
