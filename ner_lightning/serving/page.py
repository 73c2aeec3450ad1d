"""The service's pages: one to try it, one that describes its interface; both are self-contained."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ner_lightning.serving.examples import operations
from ner_lightning.system.page_policy import page_policy

_STYLE, _SCRIPT = (re.compile(rf"<{tag}>(.*?)</{tag}>", re.S) for tag in ("style", "script"))


def try_page(model: str, labels: Sequence[str], example: str | None = None) -> str:
    """The page that shows the entities of a text that one types, or of an example text."""
    page, style, script = map(_read, ("page.html", "page.css", "page.js"))
    items = "".join(f"<li>{escape(label)}</li>" for label in labels)
    button = f'<button id="example" type="button" data-text="{escape(example or "")}">Try an example</button>'
    return (
        page.replace("{{style}}", style)
        .replace("{{script}}", script)
        .replace("{{model}}", escape(model))
        .replace("{{labels}}", items)
        .replace("{{example}}", button if example else "")
    )


def docs_page(openapi: Mapping[str, Any], address: str, *, key: bool) -> str:
    """The description of the interface: each operation with a request, as a line for curl, and its answer.

    Args:
        openapi: the OpenAPI document, with examples.
        address: of the service.
        key: whether it has a key.
    """
    parts = []
    for each in operations(openapi):
        statuses = "".join(
            f"<tr><th scope=row>{escape(code)}</th><td>{escape(text)}</td></tr>"
            for code, text in each.statuses.items()
        )
        answer = f'<h3>Answer</h3><pre tabindex="0">{escape(each.answer)}</pre>' if each.answer else ""
        parts.append(
            f"<h2><code>{escape(each.method)} {escape(each.path)}</code></h2><p>{escape(each.about)}</p>"
            f'<h3>Request</h3><pre class="command">{escape(each.curl(address, key=key))}</pre>{answer}'
            f"<h3>Statuses</h3><table>{statuses}</table>"
        )
    schemas = json.dumps(openapi.get("components", {}).get("schemas", {}), indent=2)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>ner-lightning: API</title><link rel="icon" href="data:,">'
        f"<style>{_read('page.css')}</style></head><body><main><h1>API</h1>"
        '<p><a href="openapi.json">openapi.json</a> · <a href="./">try it</a></p>'
        f'{"".join(parts)}<details><summary>Schemas</summary><pre tabindex="0">{escape(schemas)}</pre>'
        "</details></main></body></html>"
    )


def policy(page: str) -> str:
    """The policy of a page: its own inline style and script, and requests to the service."""
    more = ("connect-src 'self'", "frame-ancestors 'none'")
    return page_policy(_STYLE.findall(page), _SCRIPT.findall(page), *more)


def _read(name: str) -> str:
    return (files("ner_lightning.serving") / name).read_text(encoding="utf-8")
