"""`aionotify/web/docs.html`: the API reference for people, rendered from `openapi.json`.

It is rendered when the package is changed, and not by the server: that one only serves bytes.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support import ROOT

WEB = ROOT / "aionotify" / "web"
DOCUMENT = WEB / "openapi.json"
PAGE = WEB / "docs.html"

Part = Mapping[str, Any]
"""An object of an OpenAPI document."""

START = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>aionotify API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="ui/style.css">
</head>
<body>
"""
# The empty icon keeps browsers from requesting /favicon.ico, which the server does not have.


def files() -> dict[Path, str]:
    """Return the text of `docs.html`."""
    return {PAGE: as_html(json.loads(DOCUMENT.read_text(encoding="utf-8")))}


def as_html(document: Part) -> str:
    """Render an OpenAPI document as one page without scripts.

    Support only the subset of OpenAPI 3.1 that `openapi.json` uses. KeyError for some of the rest.
    """
    info = document["info"]
    parts = [
        START,
        f'<header class="narrow"><h1>aionotify {_escape(info["version"])} API reference</h1>\n',
        '<p><a href="ui">Live page</a> · <a href="openapi.json">OpenAPI document</a></p>',
        '</header>\n<main class="reading">\n<section>\n',
        _paragraphs(info["description"]),
        "</section>\n",
    ]
    for tag in document["tags"]:
        parts.append(f"<section><h2>{_escape(tag['name'])}</h2>\n{_paragraphs(tag['description'])}")
        parts += [
            _operation(document, method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        parts.append("</section>\n")
    parts.append("<section><h2>Objects</h2>\n")
    parts += [_schema(name, each) for name, each in document["components"]["schemas"].items()]
    parts.append("</section>\n</main>\n</body>\n</html>\n")
    return "".join(parts)


def _operation(document: Part, method: str, path: str, operation: Part) -> str:
    parameters = [_resolve(document, each) for each in operation.get("parameters", ())]
    responses = [(code, _resolve(document, each)) for code, each in operation["responses"].items()]
    parts = [
        f'<section id="{_escape(operation["operationId"])}"><h3><code class="method">'
        f"{method.upper()}</code> <code>{_escape(path)}</code></h3>\n",
        _paragraphs(f"**{operation['summary']}**\n\n{operation.get('description', '')}"),
    ]
    if parameters:
        rows = ((each["name"], _kind(each["schema"]), each["description"]) for each in parameters)
        parts.append(_table("Parameters", rows))
    if "requestBody" in operation:
        parts += _examples("Body", operation["requestBody"])
    parts.append(_table("Responses", ((code, "", each["description"]) for code, each in responses)))
    for code, each in responses:
        # Examples of errors would repeat the same object under every operation.
        if code.startswith("2"):
            parts += _examples(code, each)
    return "".join([*parts, "</section>\n"])


def _schema(name: str, schema: Part) -> str:
    required = schema.get("required", ())
    rows = (
        (key, _kind(each) + ("" if key in required else ", optional"), each.get("description", ""))
        for key, each in schema["properties"].items()
    )
    description = _paragraphs(schema.get("description", ""))
    table = _table(f"Fields of {name}", rows)
    return f"<section><h3>{_escape(name)}</h3>\n{description}{table}</section>\n"


def _examples(title: str, part: Part) -> Iterable[str]:
    for media, content in part.get("content", {}).items():
        if "example" in content:
            example = content["example"]
            if media == "application/x-ndjson":
                example = "\n".join(map(_compact, example))
            elif not isinstance(example, str):
                # As the server sends it, so that it can be compared with real output.
                example = _compact(example)
            yield f'<p class="quiet">{title}, <code>{_escape(media)}</code></p>\n'
            yield f"<pre>{_escape(example)}</pre>\n"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _table(caption: str, rows: Iterable[tuple[str, str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row"><code>{_escape(name)}</code></th>'
        f"<td>{_inline('. '.join(filter(None, (kind, description))))}</td></tr>\n"
        for name, kind, description in rows
    )
    return f"<table><caption>{_escape(caption)}</caption>\n<tbody>\n{cells}</tbody></table>\n"


def _kind(schema: Part) -> str:
    """Return the type of a value as the start of a sentence."""
    words = _words(schema)
    return words[:1].upper() + words[1:]


def _words(schema: Part) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return f"always `{json.dumps(schema['const'])}`"
    if "enum" in schema:
        words = " or ".join(f"`{each}`" for each in schema["enum"])
    elif schema["type"] == "array":
        words = f"array of {_words(schema['items'])}"
    else:
        kinds = schema["type"]
        words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return f"{words}, default `{schema['default']}`" if "default" in schema else words


def _resolve(document: Part, part: Part) -> Part:
    """Return the target of a `$ref`, or `part` if it is none."""
    if "$ref" not in part:
        return part
    found = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def _paragraphs(text: str) -> str:
    paragraphs = filter(None, text.split("\n\n"))
    return "".join(f"<p>{_inline(each)}</p>\n" for each in paragraphs)


def _inline(text: str) -> str:
    """Render the Markdown that the document uses: code and strong."""
    # Escape first: afterwards, the markup that is added here could not be told from text.
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", _escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked)


def _escape(text: str) -> str:
    return html.escape(str(text))
