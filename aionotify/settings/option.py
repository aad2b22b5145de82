"""Metadata of a setting: its variable, its parser and its help text."""

from dataclasses import Field, dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from aionotify.settings.parsers import Parser

T = TypeVar("T")

PREFIX = "AIONOTIFY_"
UNSET = "unset"


class Group(StrEnum):
    """A heading in `--help` and `.env.example`."""

    LISTENING = "Listening"
    RECENT = "Recent notifications"
    LIMITS = "Limits"
    TIMEOUTS = "Timeouts"
    ACCESS = "Access"
    CLUSTER = "Several nodes"
    LOGGING = "Logging"


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is written, checked and documented.

    `--help`, `.env.example` and the table of settings are generated from it.
    A secret is never shown, and may come from a file that the variable `<variable>_FILE` names.
    """

    parser: Parser[Any]
    group: Group
    help: str
    """Whole sentences, with code in backquotes."""
    default: str
    """The default as it is written in the environment; empty if that is impossible."""
    unset: str
    """What happens if the setting is not set; empty if `default` says it."""
    secret: bool
    variable: str
    formerly: str | None
    """A deprecated name of the variable."""
    name: str = ""
    """The name of the field."""

    @property
    def file_variable(self) -> str:
        """The variable with the path of a file that contains the secret."""
        return f"{self.variable}_FILE"


def option(
    default: T,
    parser: Parser[T],
    *,
    group: Group,
    help: str,
    variable: str = "",
    formerly: str | None = None,
    unset: str = "",
    secret: bool = False,
) -> T:
    """Return a dataclass field with an `Option`.

    `variable` is derived from the field's name if it is not given: `port` is `AIONOTIFY_PORT`.
    """
    # The return type is a white lie, the same as that of `dataclasses.field`. It lets mypy check
    # that the field, its default and its parser agree.
    if default == () and not unset:
        unset = UNSET  # an empty tuple cannot be written
    text = "off" if default is False else str(default)
    written = "" if unset else text
    made = Option(parser, group, help, written, unset, secret, variable, formerly)
    return field(default=default, repr=not secret, metadata={"option": made})


def option_of(each: "Field[Any]") -> Option:
    """Return the option of a field that `option` made."""
    made = each.metadata["option"]
    assert isinstance(made, Option)
    # `option` cannot do this: it runs before its result is assigned to a name.
    return replace(made, name=each.name, variable=made.variable or PREFIX + each.name.upper())
