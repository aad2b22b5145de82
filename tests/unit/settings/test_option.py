"""Options: derived from fields, and the source of generated text."""

from dataclasses import dataclass, fields

from aionotify.settings import options
from aionotify.settings.option import UNSET, Group, option, option_of
from aionotify.settings.parsers import SWITCH, TOKENS, integer


@dataclass(frozen=True)
class Example:
    """Settings for the tests in this file."""

    max_size: int = option(7, integer(1, 9), group=Group.LIMITS, help="Size.")
    renamed: int = option(
        0,
        integer(1, 9),
        group=Group.LIMITS,
        help="Other.",
        variable="OTHER",
        formerly="OLD",
        unset="as many as possible",
    )
    tokens: tuple[str, ...] = option((), TOKENS, group=Group.ACCESS, help="Token.", secret=True)
    switch: bool = option(False, SWITCH, group=Group.LIMITS, help="Switch.")
    none: int = option(0, integer(0, 9), group=Group.LIMITS, help="None.")


MAX_SIZE, RENAMED, SECRET, SWITCHED, NONE = map(option_of, fields(Example))


def test_default_is_that_of_the_field() -> None:
    assert Example() == Example(max_size=7, renamed=0, tokens=())


def test_variable_is_derived_from_field() -> None:
    assert (MAX_SIZE.name, MAX_SIZE.variable) == ("max_size", "AIONOTIFY_MAX_SIZE")
    assert MAX_SIZE.formerly is None


def test_given_variable_is_kept() -> None:
    assert (RENAMED.name, RENAMED.variable, RENAMED.formerly) == ("renamed", "OTHER", "OLD")


def test_default_is_written_or_described() -> None:
    assert (MAX_SIZE.default, MAX_SIZE.unset) == ("7", "")
    assert (RENAMED.default, RENAMED.unset) == ("", "as many as possible")
    assert (SECRET.default, SECRET.unset) == ("", UNSET)
    assert (SWITCHED.default, NONE.default) == ("off", "0")


def test_secret_has_file_variable_and_no_repr() -> None:
    assert SECRET.file_variable == "AIONOTIFY_TOKENS_FILE"
    assert (
        repr(Example(tokens=("hidden",))) == "Example(max_size=7, renamed=0, switch=False, none=0)"
    )


def test_help_is_whole_sentences() -> None:
    """Help texts stand alone in `--help`, in `.env.example` and in the table of settings."""
    for each in options():
        assert each.help.endswith("."), each.variable
        assert "|" not in each.help + each.unset, f"{each.variable}: breaks the Markdown table"


def test_groups_are_contiguous_and_in_order() -> None:
    """`--help` and `.env.example` start a new heading whenever the group changes."""
    groups = [each.group for each in options()]
    assert groups == sorted(groups, key=list(Group).index)
    assert set(groups) == set(Group)


def test_variables_are_unique() -> None:
    names = [each.variable for each in options()]
    names += [each.file_variable for each in options() if each.secret]
    names += [each.formerly for each in options() if each.formerly]
    assert len(names) == len(set(names))
