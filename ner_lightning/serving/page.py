"""The service's pages: one to try it, one that describes its interface; both are self-contained."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ner_lightning.system.page_policy import page_policy

_STYLE, _SCRIPT = (re.compile(rf"<{tag}>(.*?)</{tag}>", re.S) for tag in ("style", "script"))


def try_page(model: str, labels: Sequence[str]) -> str:
    """The page that shows the entities of a text that one types."""
    page, style, script = map(_read, ("page.html", "page.css", "page.js"))
    items = "".join(f"<li>{escape(label)}</li>" for label in labels)
    return (
        page.replace("{{style}}", style)
        .replace("{{script}}", script)
        .replace("{{model}}", escape(model))
        .replace("{{labels}}", items)
    )


def docs_page(openapi: Mapping[str, Any]) -> str:
    """The description of the interface, from its OpenAPI document."""
    parts = []
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            answers = "".join(
                f"<tr><th scope=row>{escape(str(code))}</th><td>{escape(answer['description'])}</td></tr>"
                for code, answer in operation["responses"].items()
            )
            description = operation.get("description") or operation.get("summary", "")
            parts.append(
                f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(description)}</p>"
                f"<table><caption>Answers</caption>{answers}</table>"
            )
    schemas = json.dumps(openapi.get("components", {}).get("schemas", {}), indent=2)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>ner-lightning: interface</title><link rel="icon" href="data:,">'
        f"<style>{_read('page.css')}</style></head><body><main><h1>Interface</h1>"
        '<p><a href="openapi.json">openapi.json</a> · <a href="./">try it</a></p>'
        f'{"".join(parts)}<h2>Schemas</h2><pre tabindex="0">{escape(schemas)}</pre></main></body></html>'
    )


def policy(page: str) -> str:
    """The policy of a page: its own inline style and script, and requests to the service."""
    more = ("connect-src 'self'", "frame-ancestors 'none'")
    return page_policy(_STYLE.findall(page), _SCRIPT.findall(page), *more)


def _read(name: str) -> str:
    return (files("ner_lightning.serving") / name).read_text(encoding="utf-8")
