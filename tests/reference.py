"""What README.md and .env.example say about the settings, made from the table in the code.

`python -m tests.reference` writes it; a test compares.
"""

import itertools
import re
import textwrap

from aionotify.settings import options
from aionotify.settings.option import Option
from tests.support import ROOT

README = ROOT / "docker" / "README.md"
EXAMPLE = ROOT / ".env.example"

TABLE = re.compile(r"\| variable \| default \| \|\n(?:\|.*\n)+")

HEAD = """\
# Settings of aionotify. Copy this file to .env and change what you need; every line shows the default.
# Flags go before the environment, and the environment goes before this file.
"""  # noqa: E501


def table() -> str:
    """The table in README.md."""
    rows = ["| variable | default | |", "| --- | --- | --- |"]
    for each in options():
        rows.append(f"| `{each.variable}` | {each.unset or f'`{each.default}`'} | {each.help} |")
        if each.secret:
            rows.append(f"| `{each.file_variable}` | unset | the same, from a file |")
    return "\n".join(rows) + "\n"


def example() -> str:
    """All of .env.example."""
    text = HEAD
    for group, members in itertools.groupby(options(), lambda each: each.group):
        text += f"\n# == {group} ==\n"
        for each in members:
            text += f"\n{_commented(each)}\n#{each.variable}={each.default}\n"
            if each.secret:
                text += (
                    f"# The same, from a file, as container secrets come.\n#{each.file_variable}=\n"
                )
    return text


def _commented(option: Option) -> str:
    sentence = option.help[0].upper() + option.help[1:] if option.help[0].isalpha() else option.help
    if option.unset and "unset" not in option.unset + option.help:
        sentence += f"; unset: {option.unset}"
    sentence = sentence.replace("`", "") + "."
    return textwrap.fill(sentence, 100, initial_indent="# ", subsequent_indent="# ")


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(TABLE.sub(lambda _: table(), text, count=1), encoding="utf-8")
    EXAMPLE.write_text(example(), encoding="utf-8")
