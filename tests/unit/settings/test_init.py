"""Every knob: its default, where it comes from, and the one line that refuses nonsense."""

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


class Knob(NamedTuple):
    """What the contract says about one setting of layer 1."""

    field: str
    variable: str
    default: object
    accepted: str
    good: Mapping[str, object]
    bad: list[str]


def numbers(low: int, high: int) -> tuple[Mapping[str, object], list[str]]:
    """Good and bad values of a whole number in that range."""
    inside = [low, low + 1, high]
    good = {**{f"{number}": number for number in inside}, f" {high} ": high}
    bad = [
        f"{high + 1}",
        "-1",
        "1.5",
        "1e3",
        "0x10",
        "+5",
        "1_000",
        "five",
        "٣",
        "²",
        "1 2",
        "None",
    ]
    return good, bad if low == 0 else [*bad, f"{low - 1}"]


KNOBS = [
    Knob(
        "host",
        "AIONOTIFY_HOST",
        "localhost",
        "a host name or an address",
        {"0.0.0.0": "0.0.0.0", "::1": "::1", " a.example ": "a.example"},
        ["a b", "http://a", "a,b", "me@a", "a\tb", "a\0b", "x" * 64, "a..b"],
    ),
    Knob(
        "port",
        "AIONOTIFY_PORT",
        8000,
        "a port from 0 to 65535 (0 picks a free one)",
        *numbers(0, 65535),
    ),
    Knob(
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
    Knob("memcached_port", "MEMCACHED_PORT", 11211, "a port from 1 to 65535", *numbers(1, 65535)),
    Knob(
        "recent_limit",
        "AIONOTIFY_RECENT_LIMIT",
        5,
        "a whole number from 1 to 1000",
        *numbers(1, 1000),
    ),
    Knob(
        "recent_ttl",
        "AIONOTIFY_RECENT_TTL",
        3600,
        "whole seconds from 1 to 2592000 (30 days, the longest that memcached keeps)",
        *numbers(1, 2592000),
    ),
    Knob(
        "history_limit",
        "AIONOTIFY_HISTORY_LIMIT",
        1000,
        "a whole number from 1 to 1000000",
        *numbers(1, 1000000),
    ),
    Knob(
        "max_message_bytes",
        "AIONOTIFY_MAX_MESSAGE_BYTES",
        65536,
        "bytes from 1 to 1048576 (1 MiB)",
        *numbers(1, 1048576),
    ),
    Knob(
        "max_connections",
        "AIONOTIFY_MAX_CONNECTIONS",
        0,
        "a whole number from 1 to 1000000",
        *numbers(1, 1000000),
    ),
    Knob(
        "heartbeat",
        "AIONOTIFY_HEARTBEAT",
        25,
        "whole seconds from 0 to 3600, where 0 is off",
        *numbers(0, 3600),
    ),
    Knob(
        "stall_timeout",
        "AIONOTIFY_STALL_TIMEOUT",
        30,
        "whole seconds from 1 to 3600",
        *numbers(1, 3600),
    ),
    Knob(
        "shutdown_grace",
        "AIONOTIFY_SHUTDOWN_GRACE",
        5,
        "whole seconds from 0 to 300",
        *numbers(0, 300),
    ),
    Knob(
        "log_level",
        "AIONOTIFY_LOG_LEVEL",
        "info",
        "debug, info, warning or error",
        {"debug": "debug", "INFO": "info", " Warning ": "warning", "error": "error"},
        ["verbose", "10", "info,debug", "critical"],
    ),
    Knob(
        "log_format",
        "AIONOTIFY_LOG_FORMAT",
        "text",
        "text or json",
        {"text": "text", "JSON": "json", " Text ": "text"},
        ["xml", "text,json", "1"],
    ),
]

every_knob = pytest.mark.parametrize("knob", KNOBS, ids=[knob.variable for knob in KNOBS])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; there is no .env in it yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(environ: dict[str, str], **flags: str) -> Settings:
    """The settings from an environment, with another variable so that it is not empty."""
    return read_settings(flags, None, {"HOME": "/", **environ})[0]


def test_these_are_all_the_settings_of_layer_1() -> None:
    assert {knob.field for knob in KNOBS} <= {each.name for each in fields(Settings)}


@every_knob
def test_the_default(knob: Knob) -> None:
    assert getattr(Settings(), knob.field) == knob.default
    assert getattr(read({}), knob.field) == knob.default


@every_knob
def test_what_is_accepted(knob: Knob) -> None:
    for text, value in knob.good.items():
        settings = read({knob.variable: text})
        assert getattr(settings, knob.field) == value
        others = {knob.field: knob.default}
        assert replace(settings, **others) == Settings()  # type: ignore[arg-type]  # any field


@every_knob
def test_what_is_not_accepted_is_named_with_what_is(knob: Knob) -> None:
    for text in knob.bad:
        with pytest.raises(SettingsError) as caught:
            read({knob.variable: text})
        assert str(caught.value) == (
            f"{knob.variable}: {text!r} is not accepted; accepted is {knob.accepted}"
        )


@every_knob
def test_an_empty_value_counts_as_unset(knob: Knob, folder: Path) -> None:
    text, value = next(iter(knob.good.items()))
    (folder / ".env").write_text(f'{knob.variable}="{text}"\n', encoding="utf-8")
    for empty in ("", " ", "\t\n"):
        settings = read({knob.variable: empty}, **{knob.field: empty})
        assert getattr(settings, knob.field) == value
    for empty in ("", "''", '"  "'):
        (folder / ".env").write_text(f"{knob.variable}={empty}\n", encoding="utf-8")
        assert read({}) == Settings()


@every_knob
def test_flags_go_before_the_environment_and_that_before_the_file(knob: Knob, folder: Path) -> None:
    texts = iter([*knob.good, *knob.good])
    file, environment, flag = next(texts), next(texts), next(texts)
    (folder / ".env").write_text(f'{knob.variable}="{file}"\n', encoding="utf-8")
    assert getattr(read({}), knob.field) == knob.good[file]
    assert getattr(read({knob.variable: environment}), knob.field) == knob.good[environment]
    settings = read({knob.variable: environment}, **{knob.field: flag})
    assert getattr(settings, knob.field) == knob.good[flag]


ANYTHING = st.one_of(
    st.text(max_size=300),
    st.text("0123456789", max_size=25),
    st.text("ab.:,[]0123 /@", max_size=30),
    st.integers().map(str),
)


@every_knob
@given(text=ANYTHING)
def test_any_text_is_either_accepted_or_refused_in_one_line(knob: Knob, text: str) -> None:
    try:
        value: Any = getattr(read({knob.variable: text}), knob.field)
    except SettingsError as error:
        line = str(error)
        assert len(line.splitlines()) == 1
        assert line.startswith(f"{knob.variable}: ")
        assert line.endswith(f" is not accepted; accepted is {knob.accepted}")
        assert len(line) < 1200
    else:
        assert type(value) is type(knob.default)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(SettingsError) as caught:
        read({"AIONOTIFY_PORT": "x" * 5000})
    assert f"'{'x' * 100}…' is not accepted" in str(caught.value)


def test_the_memcacheds_to_probe_by_default_and_their_port() -> None:
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


# ----------------------------------------------------------------------------------- the file


def test_the_file_may_have_comments_quotes_export_and_other_lines(folder: Path) -> None:
    (folder / ".env").write_text(
        "# a comment\r\n\nexport AIONOTIFY_PORT=1234 # the port\nMEMCACHED_HOST='a, b'\nOTHER=1\n",
        encoding="utf-8",
    )
    settings, hints = read_settings({}, None, {"HOME": "/"})
    assert settings.port == 1234
    assert settings.memcached_hosts == (Address("a", 0), Address("b", 0))
    assert hints == []


def test_another_file_is_read_instead(folder: Path) -> None:
    (folder / ".env").write_text("AIONOTIFY_PORT=1\nAIONOTIFY_HEARTBEAT=1\n", encoding="utf-8")
    other = folder / "production.env"
    other.write_text("AIONOTIFY_PORT=2\n", encoding="utf-8")
    assert read_settings({}, other, {"HOME": "/"})[0] == Settings(port=2)


def test_a_file_that_is_named_has_to_be_there(folder: Path) -> None:
    for path in (folder / "nowhere.env", folder):
        with pytest.raises(SettingsError) as caught:
            read_settings({}, path, {"HOME": "/"})
        assert str(caught.value) == f"--env-file: {str(path)!r} is not a file"


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / ".env").write_bytes(b"AIONOTIFY_PORT=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: ") as caught:
        read({})
    assert len(str(caught.value).splitlines()) == 1


def test_an_empty_environment_is_not_the_one_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIONOTIFY_PORT", "1234")
    assert read_settings({}, None, {})[0].port == 8000
    assert read_settings({}, None)[0].port == 1234


# --------------------------------------------------------------------------- misspelt variables


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("AIONOTIFY_PROT", "; did you mean AIONOTIFY_PORT?"),
        ("AIONOTIFY_RECENTS_LIMIT", "; did you mean AIONOTIFY_RECENT_LIMIT?"),
        ("AIONOTIFY_port", "; did you mean AIONOTIFY_PORT?"),
        ("AIONOTIFY_QQQQQQQQQQQQQQQQQQQQQQQQQQQ", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_hinted_at(variable: str, hint: str, folder: Path) -> None:
    wanted = [f"{variable} is no setting and does nothing{hint}"]
    assert read_settings({}, None, {variable: "1"})[1] == wanted
    (folder / ".env").write_text(f"{variable}=1\n", encoding="utf-8")
    assert read_settings({}, None, {"HOME": "/"})[1] == wanted


def test_other_variables_are_nobodys_business() -> None:
    environ = {"PATH": "/bin", "AIO_NOTIFY": "1", "MEMCACHED_HOST": "a", "AIONOTIFY": "1"}
    assert read_settings({}, None, environ)[1] == []


def test_the_settings_cannot_be_changed_later() -> None:
    with pytest.raises(AttributeError, match=re.compile("assign|frozen")):
        Settings().port = 1  # type: ignore[misc]
