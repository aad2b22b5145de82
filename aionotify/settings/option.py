"""What is said about a setting: to the program, and to people."""

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from typing import Any

LISTENING = "Where to listen"
RECENTS = "The recents"
LIMITS = "Limits"
TIMES = "Times"
ACCESS = "Who may do what"
LOG = "The log"


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is written in the environment, and what people are told about it.

    `--help`, `.env.example` and the table in README.md say what stands here. A secret is never
    shown, and may also come from a file: `<variable>_FILE` names it.
    """

    variable: str
    accepts: str
    parse: Callable[[str], Any]
    group: str
    help: str
    default: str
    """As it would be written; empty where it cannot be."""
    unset: str
    """In its place, what is done where there is no value."""
    secret: bool

    @property
    def file_variable(self) -> str:
        """Where the name of a file with the secret stands."""
        return f"{self.variable}_FILE"


def option(
    default: Any,
    variable: str,
    accepts: str,
    parse: Callable[[str], Any],
    group: str,
    help: str,
    *,
    unset: str = "",
    secret: bool = False,
) -> Any:
    """A field of a dataclass that has a `Option`."""
    written = "" if unset else str(default)
    made = Option(variable, accepts, parse, group, help, written, unset, secret)
    return field(default=default, repr=not secret, metadata={"option": made})


def option_of(each: "Field[Any]") -> Option:
    """What is said about a setting."""
    made = each.metadata["option"]
    assert isinstance(made, Option)
    return made
