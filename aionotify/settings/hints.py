"""Hints about variables that do not have the effect that their author expects."""

import difflib
from collections.abc import Mapping, Sequence, Set

from aionotify.settings.option import PREFIX, Group, Option


def hints_on(options: Sequence[Option], written: Mapping[str, str], empty: Set[str]) -> list[str]:
    """Return a sentence for each variable that is unknown, renamed, unused, or empty and a secret.

    `empty` has the variables without a value.
    """
    return [*_empty_secrets(options, written, empty), *_unused(written), *_names(options, written)]


def _empty_secrets(
    options: Sequence[Option], written: Mapping[str, str], empty: Set[str]
) -> list[str]:
    """Return a sentence for each secret that is named without a value, and so protects nothing."""
    # A template whose variable was forgotten, such as `AIONOTIFY_ADMIN_TOKEN: ${TOKEN}` in a
    # compose file, looks like a protected server.
    hints = []
    for each in options:
        variables = [each.variable, each.file_variable] if each.secret else []
        if not any(variable in written for variable in variables):
            alone = "this node is alone" if each.group is Group.CLUSTER else "no token is required"
            hints += [
                f"{variable} is empty, which counts as unset: {alone}"
                for variable in variables
                if variable in empty
            ]
    return hints


def _unused(written: Mapping[str, str]) -> list[str]:
    """Return a sentence if memcached is named beside NATS."""
    nats = {"AIONOTIFY_NATS_URL", "AIONOTIFY_NATS_URL_FILE"} & {*written}
    if nats and "MEMCACHED_HOST" in written:
        return [f"MEMCACHED_HOST is not used, because {min(nats)} is set"]
    return []


def _names(options: Sequence[Option], written: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that was renamed or is unknown.

    A misspelled name is otherwise ignored silently: with `AIONOTIFY_ADMIN_TOKNE`, the server
    would start open to everyone.
    """
    current = _current_names(options)
    hints = []
    for variable in written:
        # Other programs read MEMCACHED_*, too, so an unknown one is not a mistake.
        if variable not in current and variable.upper().startswith(PREFIX):
            # Old names are candidates, too: a name close to one is a misspelling of the new name.
            near = difflib.get_close_matches(variable.upper(), current, 1)
            suggestion = f"; did you mean {current[near[0]]}?" if near else ""
            hints.append(f"unknown setting {variable} is ignored{suggestion}")
        elif (name := current.get(variable, variable)) != variable:
            hints.append(f"{variable} is now called {name}; please rename it")
    return hints


def _current_names(options: Sequence[Option]) -> dict[str, str]:
    """Return the current name of every variable, by its current and its deprecated name."""
    names: dict[str, str] = {}
    for each in options:
        names |= {each.variable: each.variable}
        if each.secret:
            names |= {each.file_variable: each.file_variable}
        if each.formerly:
            names |= {each.formerly: each.variable}
    return names
