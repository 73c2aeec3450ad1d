"""The service's two pages: one to try it, one that describes it; neither asks for anything elsewhere."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

_INLINE = {kind: re.compile(rf"<{tag}>(.*?)</{tag}>", re.S) for kind, tag in
           (("style-src", "style"), ("script-src", "script"))}  # fmt: skip


def try_page(model: str, labels: Sequence[str]) -> str:
    """The page on which one types a text and sees its entities."""
    page, style, script = _read("page.html"), _read("page.css"), _read("page.js")
    known = "".join(f"<li>{escape(label)}</li>" for label in labels)
    return (
        page.replace("{{style}}", style)
        .replace("{{script}}", script)
        .replace("{{model}}", escape(model))
        .replace("{{labels}}", known)
    )


def docs_page(described: Mapping[str, Any]) -> str:
    """The description of the interface, from its OpenAPI document.

    Args:
        described: the document.
    """
    parts = []
    for path, methods in described["paths"].items():
        for method, about in methods.items():
            answers = "".join(
                f"<tr><th scope=row>{escape(str(code))}</th><td>{escape(answer['description'])}</td></tr>"
                for code, answer in about["responses"].items()
            )
            said = about.get("description") or about.get("summary", "")
            parts.append(
                f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(said)}</p>"
                f"<table><caption>Answers</caption>{answers}</table>"
            )
    schemas = json.dumps(described.get("components", {}).get("schemas", {}), indent=2)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>ner-lightning: interface</title><link rel="icon" href="data:,">'
        f"<style>{_read('page.css')}</style></head><body><main><h1>Interface</h1>"
        '<p><a href="openapi.json">openapi.json</a> · <a href="./">try it</a></p>'
        f'{"".join(parts)}<h2>Schemas</h2><pre tabindex="0">{escape(schemas)}</pre></main></body></html>'
    )


def policy(page: str) -> str:
    """The content policy under which a page runs its own style and script and nothing else."""
    hashes = {
        kind: " ".join(f"'sha256-{_digest(text)}'" for text in found.findall(page)) or "'none'"
        for kind, found in _INLINE.items()
    }
    own = "; ".join(f"{kind} {allowed}" for kind, allowed in hashes.items())
    return (
        f"default-src 'none'; connect-src 'self'; img-src data:; {own}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (files("ner_lightning.serving") / name).read_text(encoding="utf-8")
