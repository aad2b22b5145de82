"""The description of the interface, as a page for people."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Part = Mapping[str, Any]
"""An object of an OpenAPI document."""

_START = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The interface of aionotify</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="ui/style.css">
</head>
<body>
"""


def as_html(document: Part) -> str:
    """An OpenAPI document as one page, without scripts, that refers to `ui/style.css` only.

    Understood is what the document of this server makes use of.
    """
    info = document["info"]
    parts = [
        _START,
        f'<header class="narrow"><h1>The interface of aionotify {_text(info["version"])}</h1>',
        '<p><a href="ui">The page</a> · <a href="openapi.json">For programs: openapi.json</a></p>',
        '</header>\n<main class="reading">\n<section>',
        _prose(info["description"]),
        "</section>\n",
    ]
    for tag in document["tags"]:
        parts.append(f"<section><h2>{_text(tag['name'])}</h2>{_prose(tag['description'])}")
        parts += [
            _operation(document, method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        parts.append("</section>\n")
    parts.append("<section><h2>Objects</h2>")
    parts += [_schema(name, each) for name, each in document["components"]["schemas"].items()]
    parts.append("</section>\n</main>\n</body>\n</html>\n")
    return "".join(parts)


def _operation(document: Part, method: str, path: str, operation: Part) -> str:
    parameters = [_resolved(document, each) for each in operation.get("parameters", ())]
    responses = [(code, _resolved(document, each)) for code, each in operation["responses"].items()]
    parts = [
        f'<section id="{_text(operation["operationId"])}"><h3><code class="method">'
        f"{method.upper()}</code> <code>{_text(path)}</code></h3>",
        _prose(f"**{operation['summary']}**\n\n{operation.get('description', '')}"),
    ]
    if parameters:
        rows = ((each["name"], _kind(each["schema"]), each["description"]) for each in parameters)
        parts.append(_table("Parameters", rows))
    if "requestBody" in operation:
        parts += _examples("Body", operation["requestBody"])
    answers = ((code, "", each["description"]) for code, each in responses)
    parts.append(_table("Answers", answers))
    for code, each in responses:
        if code.startswith("2"):
            parts += _examples(code, each)
    return "".join([*parts, "</section>"])


def _schema(name: str, schema: Part) -> str:
    needed = schema.get("required", ())
    rows = (
        (key, _kind(each) + ("" if key in needed else ", optional"), each.get("description", ""))
        for key, each in schema["properties"].items()
    )
    description = _prose(schema.get("description", ""))
    table = _table(f"Members of {name}", rows)
    return f"<section><h3>{_text(name)}</h3>{description}{table}</section>"


def _examples(title: str, part: Part) -> Iterable[str]:
    for media, content in part.get("content", {}).items():
        if "example" in content:
            example = content["example"]
            if not isinstance(example, str):
                example = json.dumps(example, ensure_ascii=False, separators=(",", ":"))
            yield f'<p class="quiet">{title}, <code>{_text(media)}</code></p>'
            yield f"<pre>{_text(example)}</pre>"


def _table(caption: str, rows: Iterable[tuple[str, str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row"><code>{_text(name)}</code></th>'
        f"<td>{_inline('. '.join(filter(None, (kind, description))))}</td></tr>"
        for name, kind, description in rows
    )
    return f"<table><caption>{_text(caption)}</caption><tbody>{cells}</tbody></table>"


def _kind(schema: Part) -> str:
    """What a value may be, as the start of a sentence."""
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
    return f"{words}, `{schema['default']}` by default" if "default" in schema else words


def _resolved(document: Part, part: Part) -> Part:
    """What a `$ref` refers to, or `part` itself."""
    if "$ref" not in part:
        return part
    found = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def _prose(text: str) -> str:
    paragraphs = filter(None, text.split("\n\n"))
    return "".join(f"<p>{_inline(each)}</p>" for each in paragraphs)


def _inline(text: str) -> str:
    """What of Markdown the document uses: code and strong."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked)


def _text(text: str) -> str:
    return html.escape(str(text))
