"""The cards of the API reference: an operation with its examples and a form to try it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.generate.docs_text import Part, Text, compact, escape, kind, resolve


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    document: Part
    path: str
    method: str
    part: Part

    @property
    def id(self) -> str:
        """Return the name that is unique in the document."""
        return str(self.part["operationId"])

    @property
    def samples(self) -> list[Part]:
        """Return the snippets, one per language."""
        return list(self.part.get("x-codeSamples", ()))

    def parameters(self) -> list[Part]:
        """Return the parameters themselves instead of references to them."""
        return [resolve(self.document, each) for each in self.part.get("parameters", ())]

    def success(self) -> Part:
        """Return the one response that is no error."""
        ((_, found),) = self._responses(error=False)
        return found

    def errors(self) -> list[str]:
        """Return the status codes of its errors."""
        return [code for code, _ in self._responses(error=True)]

    def _responses(self, *, error: bool) -> list[tuple[str, Part]]:
        # 304 is neither: only the files have it.
        return [
            (code, resolve(self.document, each))
            for code, each in self.part["responses"].items()
            if code != "304" and (code >= "4") == error
        ]

    def transport(self) -> str:
        """Return the transport of `/client.js` that tries it, or "" for a single request."""
        if "x-frames" in self.part:
            return "websocket"
        return "events" if "text/event-stream" in self.success().get("content", {}) else ""


def operations(document: Part) -> list[Operation]:
    """Return every operation, in the order of the document."""
    return [
        Operation(document, path, method, part)
        for path, methods in document["paths"].items()
        for method, part in methods.items()
    ]


def card(operation: Operation, text: Text) -> str:
    """Return the element of an operation that has snippets."""
    part = operation.part
    rows = [
        (each["name"], kind(each["schema"]), each["description"]) for each in operation.parameters()
    ]
    codes = part.get("x-closeCodes", {}).items()
    errors = " ".join(f'<a href="#error-{each}">{each}</a>' for each in operation.errors())
    return "".join(
        [
            f'<section class="card" id="{escape(operation.id)}">\n',
            f'<h3><a href="#{escape(operation.id)}"><code class="method">'
            f"{operation.method.upper()}</code> <code>{escape(operation.path)}</code></a> "
            f"<span>{text.inline(part['summary'])}</span></h3>\n",
            '<div class="halves">\n<div>\n',
            text.folded(part.get("description", "")),
            text.table("Parameters", rows) if rows else "",
            _frames(operation),
            f'<p class="quiet">{_types(operation)}Errors: {errors}</p>\n</div>\n<div>\n',
            *_samples(operation),
            *_example(operation.success()),
            text.table("Close codes", ((code, "", each) for code, each in codes)) if codes else "",
            _form(operation),
            "</div>\n</div>\n</section>\n",
        ]
    )


def row(operation: Operation) -> tuple[str, str, str]:
    """Return the row of an operation without snippets: a file."""
    (media,) = operation.success()["content"]
    return operation.path, escape(media), operation.part["summary"]


def _frames(operation: Operation) -> str:
    frames = operation.part.get("x-frames", {})
    return "".join(
        f'<p class="quiet">Frames of the {side}: {", ".join(map(kind, each))}</p>\n'
        for side, each in frames.items()
    )


def _types(operation: Operation) -> str:
    """Return the types of the body and of the response as the start of a line."""
    bodies = operation.part.get("requestBody", {}).get("content", {})
    return "".join(
        f"{name}: {kinds}. "
        for name, kinds in (
            ("Body", _media(bodies)),
            ("Response", _media(operation.success().get("content", {}))),
        )
        if kinds
    )


def _media(content: Part) -> str:
    return ", ".join(
        f"<code>{escape(media)}</code> ({' or '.join(map(kind, _choices(each['schema'])))})"
        for media, each in content.items()
    )


def _choices(schema: Part) -> list[Part]:
    return list(schema.get("oneOf", [schema]))


def _samples(operation: Operation) -> Iterable[str]:
    for each in operation.samples:
        language, source = each["lang"], each["source"]
        yield (
            f'<figure class="sample" data-language="{escape(language)}">'
            f"<figcaption>{escape(language)}</figcaption>"
            f"<pre><code>{escape(source)}</code></pre></figure>\n"
        )


def _example(response: Part) -> Iterable[str]:
    for each in response.get("content", {}).values():
        if "example" in each:
            text = each["example"]
            # Indented, because a long line would be broken anywhere, also within a time.
            indented = json.dumps(text, ensure_ascii=False, indent=2)
            shown = escape(text.strip() if isinstance(text, str) else indented)
            yield f'<p class="quiet">Response</p>\n<pre><code>{shown}</code></pre>\n'


def _form(operation: Operation) -> str:
    """Return the form *Try it*, which docs.js shows and handles."""
    transport = operation.transport()
    # A subscription of `/client.js` has these, and everything else follows from the transport.
    fields = "".join(
        _field(operation, each)
        for each in operation.parameters()
        if not transport or each["name"] in ("topic", "since")
    )
    verb = "Connect" if transport else "Send"
    return (
        '<details class="trial" hidden><summary>Try it</summary>\n'
        f'<form class="try" data-method="{operation.method.upper()}" '
        f'data-path="{escape(operation.path.lstrip("/"))}" data-transport="{transport}" '
        f'aria-label="Try {escape(operation.part["summary"])}">\n'
        f"{fields}{_body(operation)}"
        f'<p><button class="main">{verb}</button> <span class="quiet">to this server</span></p>\n'
        '<pre class="answer" role="log" aria-label="Answer" tabindex="0" hidden></pre>\n'
        "</form>\n</details>\n"
    )


def _field(operation: Operation, parameter: Part) -> str:
    name = parameter["name"]
    default = escape(parameter["schema"].get("default", ""))
    id = escape(f"{operation.id}-{name}")
    return (
        f'<p><label for="{id}"><code>{escape(name)}</code></label> '
        f'<input id="{id}" name="{escape(name)}" data-in="{parameter["in"]}" '
        f'autocomplete="off" autocapitalize="off" spellcheck="false" value="{default}"></p>\n'
    )


def _body(operation: Operation) -> str:
    content: dict[str, Any] = dict(operation.part.get("requestBody", {}).get("content", {}))
    if not content:
        return ""
    examples = {media: _written(media, each["example"]) for media, each in content.items()}
    options = "".join(
        f'<option data-example="{escape(each)}">{escape(media)}</option>'
        for media, each in examples.items()
    )
    id = escape(operation.id)
    return (
        f'<p><label for="{id}-type">Type</label> <select id="{id}-type" name="type">{options}'
        f'</select></p>\n<p><label for="{id}-body">Body</label> <textarea id="{id}-body" '
        f'name="body" rows="3" spellcheck="false">{escape(next(iter(examples.values())))}'
        "</textarea></p>\n"
    )


def _written(media: str, example: Any) -> str:
    """Return an example as the bytes of its media type."""
    if media == "application/x-ndjson":
        return "\n".join(map(compact, example))
    return example if isinstance(example, str) else compact(example)
