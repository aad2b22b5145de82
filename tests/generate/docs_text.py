"""Pieces of the API reference: text with links to types, tables, and names of types."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Part = Mapping[str, Any]
"""An object of an OpenAPI document."""


def escape(text: object) -> str:
    """Return `text` for HTML, in elements and attributes."""
    return html.escape(str(text))


def compact(value: object) -> str:
    """Return JSON as the server sends it, so that it can be compared with real output."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Text:
    """Renders the Markdown of a document: code, strong, and its types as links."""

    types: frozenset[str]

    def inline(self, text: str) -> str:
        """Return one paragraph without its element."""
        # Escape first: afterwards, the markup that is added here could not be told from text.
        # Every second piece is code, in which nothing else is marked.
        pieces = re.split(r"`([^`]+)`", escape(text))
        marked = (self._marked(each) for each in pieces)
        return "".join(
            f"<code>{pieces[place]}</code>" if place % 2 else each
            for place, each in enumerate(marked)
        )

    def _marked(self, text: str) -> str:
        strong = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
        return re.sub(r"\b[A-Z][a-z]+\b", self._link, strong)

    def _link(self, word: re.Match[str]) -> str:
        return link(word[0]) if word[0] in self.types else word[0]

    def paragraphs(self, text: str) -> str:
        """Return paragraphs, which empty lines separate."""
        return "".join(f"<p>{self.inline(each)}</p>\n" for each in text.split("\n\n") if each)

    def folded(self, text: str) -> str:
        """Return paragraphs; each that begins with a title opens a block that can be unfolded.

        A browser unfolds it when a link or a search leads into it.
        """
        first, *others = re.split(r"(?:^|\n\n)(?=\*\*)", text)
        blocks = (re.match(r"\*\*(.*?)\.?\*\*\s*(.*)", each, re.DOTALL) for each in others)
        return self.paragraphs(first) + "".join(
            f"<details><summary>{self.inline(block[1])}</summary>\n"
            f"{self.paragraphs(block[2])}</details>\n"
            for block in blocks
            if block
        )

    def table(self, caption: str, rows: Iterable[tuple[str, str, str]]) -> str:
        """Return a table of names, each with its type (HTML) and its description."""
        cells = "".join(
            f'<tr><th scope="row"><code>{escape(name)}</code></th><td>'
            + " ".join(
                filter(None, (kind and f'<span class="kind">{kind}.</span>', self.inline(text)))
            )
            + "</td></tr>\n"
            for name, kind, text in rows
        )
        return f"<table><caption>{escape(caption)}</caption>\n<tbody>\n{cells}</tbody></table>\n"


def link(name: str) -> str:
    """Return a link to a type."""
    return f'<a href="#type-{escape(name)}">{escape(name)}</a>'


def kind(schema: Part) -> str:
    """Return the type of a value as HTML."""
    if "$ref" in schema:
        return link(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        words = " or ".join(f"<code>{escape(each)}</code>" for each in schema["enum"])
    elif schema["type"] == "array":
        words = f"array of {kind(schema['items'])}"
    elif isinstance(schema["type"], str):
        words = escape(schema["type"])
    else:
        # All of them together are any value of JSON.
        words = "any" if len(schema["type"]) == 6 else escape(" or ".join(schema["type"]))
    default = f", default <code>{escape(schema['default'])}</code>" if "default" in schema else ""
    return words + default


def resolve(document: Part, part: Part) -> Part:
    """Return the target of a `$ref`, or `part` if it is none."""
    if "$ref" not in part:
        return part
    found = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found
