"""The Content-Security-Policy of HTML pages, which lets nothing run but their own style and script."""

import base64
import hashlib
from collections.abc import Iterable


def page_policy(styles: Iterable[str], scripts: Iterable[str], *more: str) -> str:
    """A policy that allows these inline styles and scripts, images from data, and nothing else.

    Args:
        styles: the content of each `<style>`.
        scripts: the content of each `<script>`.
        more: further directives.
    """
    own = (f"style-src {_hashes(styles)}", f"script-src {_hashes(scripts)}")
    rules = ("default-src 'none'", "img-src data:", *own, "base-uri 'none'", "form-action 'none'", *more)
    return "; ".join(rules)


def _hashes(texts: Iterable[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
