"""`aionotify/web/docs.html`: the API reference for people, rendered from `openapi.json`.

It is rendered when the package is changed, and not by the server: that one only serves bytes.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tests.generate.docs_cards import Operation, card, operations, row
from tests.generate.docs_text import Part, Text, escape, kind, resolve
from tests.support import ROOT

WEB = ROOT / "aionotify" / "web"
DOCUMENT = WEB / "openapi.json"
PAGE = WEB / "docs.html"

START = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>aionotify API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/docs.css">
<script src="docs/docs.js" type="module"></script>
</head>
<body>
"""
# The empty icon keeps browsers from requesting /favicon.ico, which the server does not have.

TOKEN = """\
<p id="access" hidden><label for="token">Token</label>
<input id="token" type="password" autocomplete="off" aria-describedby="token-help">
<span id="token-help" class="quiet">for Try it; never stored</span></p>
"""

NO_SCRIPT = "<noscript><p>Try it requires JavaScript; the snippets work without.</p></noscript>\n"

SHARED = "Message"
"""The type whose fields others repeat."""


def files() -> dict[Path, str]:
    """Return the text of `docs.html`."""
    return {PAGE: as_html(json.loads(DOCUMENT.read_text(encoding="utf-8")))}


def as_html(document: Part) -> str:
    """Render an OpenAPI document as one page, which is complete without its script.

    Support only the subset of OpenAPI 3.1 that `openapi.json` uses. KeyError for some of the rest.
    """
    text = Text(frozenset(document["components"]["schemas"]))
    every = operations(document)
    return "".join(
        [
            START,
            f"<header><h1>aionotify API <small>{escape(document['info']['version'])}</small></h1>\n"
            '<p><a href="ui">Live page</a> · <a href="openapi.json">OpenAPI document</a></p>\n',
            TOKEN,
            '</header>\n<div class="page">\n',
            _contents(document, every),
            f"<main>\n{NO_SCRIPT}",
            _overview(document["info"]["description"], text),
            *(_group(tag, every, text) for tag in document["tags"]),
            _errors(document, every, text),
            '<section id="types"><h2>Types</h2>\n',
            *(_type(document, name, text) for name in document["components"]["schemas"]),
            "</section>\n</main>\n</div>\n</body>\n</html>\n",
        ]
    )


def _contents(document: Part, every: Iterable[Operation]) -> str:
    """Return the links to everything on the page that has a name."""
    entries: list[tuple[str, str, list[tuple[str, str]]]] = [("overview", "Overview", [])]
    entries += [
        (
            _slug(tag["name"]),
            tag["name"],
            [(each.id, f"{each.method.upper()} {each.path}") for each in _cards(tag, every)],
        )
        for tag in document["tags"]
    ]
    entries += [("errors", "Errors", []), ("types", "Types", [])]
    items = "".join(
        f'<li><a href="#{escape(id)}">{escape(name)}</a>{_nested(nested)}</li>\n'
        for id, name, nested in entries
    )
    return f'<nav aria-label="Contents">\n<ul>\n{items}</ul>\n</nav>\n'


def _nested(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(
        f'<li><a href="#{escape(id)}"><code>{escape(name)}</code></a></li>' for id, name in entries
    )
    return f"<ul>{items}</ul>" if items else ""


def _cards(tag: Part, every: Iterable[Operation]) -> list[Operation]:
    return [each for each in every if tag["name"] in each.part["tags"] and each.samples]


def _group(tag: Part, every: Iterable[Operation], text: Text) -> str:
    plain = [each for each in every if tag["name"] in each.part["tags"] and not each.samples]
    return "".join(
        [
            f'<section id="{_slug(tag["name"])}"><h2>{escape(tag["name"])}</h2>\n',
            f"<p>{escape(tag['description'])}</p>\n",
            *(card(each, text) for each in _cards(tag, every)),
            text.table("Files, by GET", map(row, plain)) if plain else "",
            "</section>\n",
        ]
    )


def _overview(description: str, text: Text) -> str:
    return f'<section id="overview"><h2>Overview</h2>\n{text.folded(description)}</section>\n'


def _errors(document: Part, every: Iterable[Operation], text: Text) -> str:
    """Return all errors once, instead of under every operation."""
    found = {
        code: resolve(document, each.part["responses"][code])["description"]
        for each in every
        for code in each.errors()
    }
    rows = "".join(
        f'<tr id="error-{code}"><th scope="row"><code>{code}</code></th>'
        f"<td>{text.inline(found[code])}</td></tr>\n"
        for code in sorted(found)
    )
    return (
        '<section id="errors"><h2>Errors</h2>\n'
        f"<table><caption>Responses with an {kind({'$ref': '/Error'})}</caption>\n"
        f"<tbody>\n{rows}</tbody></table>\n</section>\n"
    )


def _type(document: Part, name: str, text: Text) -> str:
    schemas = document["components"]["schemas"]
    schema = schemas[name]
    required = schema.get("required", ())
    shared = schemas.get(SHARED, {}).get("properties", {}) if name != SHARED else {}
    same = [key for key, each in schema["properties"].items() if shared.get(key) == each]
    rows = [
        (
            key,
            kind(each) + ("" if key in required else ", optional"),
            each.get("description", ""),
        )
        for key, each in schema["properties"].items()
        if key not in same
    ]
    if same:
        rows.append((", ".join(same), "", f"As in {SHARED}."))
    description = text.paragraphs(schema.get("description", ""))
    table = text.table(f"Fields of {name}", rows)
    # The anchor is inside, so that a link unfolds the type.
    title = f'<details><summary><h3>{escape(name)}</h3></summary>\n<div id="type-{escape(name)}">\n'
    return f"{title}{description}{table}</div>\n</details>\n"


def _slug(title: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"\W+", "-", title.lower())
