"""Draws texts with their entities: python benchmarks/draw_entities.py FOUND.jsonl PICTURE.svg.

FOUND.jsonl is what `ner-lightning predict --output FOUND.jsonl` writes.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

FONT, SMALL = 17, 11  # sizes in pixels
ADVANCE, SMALL_ADVANCE = 0.602 * FONT, 0.602 * SMALL  # of a character of a monospaced font
LINE, PAD, MARGIN = 46, 6, 20
COLOURS = ("#ffe3b3", "#cfe6ff", "#d4f2d2", "#eddcff")
INK, PAPER, LABEL = "#1b2a41", "#ffffff", "#5b6b80"
WIDTH = 84  # characters in a line


def main(args: Sequence[str] | None = None) -> int:
    """Reads records with entities, and writes the picture."""
    source, target = sys.argv[1:] if args is None else args
    records = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    Path(target).write_text(svg(records), encoding="utf-8")
    return 0


def svg(records: Sequence[Mapping[str, Any]]) -> str:
    """The picture of records that have `text` and `entities`."""
    kinds = list(dict.fromkeys(entity["label"] for record in records for entity in record["entities"]))
    colours = {kind: COLOURS[number % len(COLOURS)] for number, kind in enumerate(kinds)}
    parts, top = [], 10
    for record in records:
        left, top = MARGIN, top + 38
        for text, kind in pieces(record):
            width = len(text) * ADVANCE + (2 * PAD + (len(kind) + 1) * SMALL_ADVANCE if kind else 0)
            if left > MARGIN and left + width > MARGIN + WIDTH * ADVANCE:
                left, top = MARGIN, top + LINE - 12
                text = text.lstrip()
            parts.append(piece(text, kind, colours.get(kind, ""), left, top))
            left += width
    width, height = round(2 * MARGIN + WIDTH * ADVANCE), round(top + MARGIN)
    told = escape("; ".join(record["text"] for record in records))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT}">'
        f'<title>{told}</title><rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>'
        f"{''.join(parts)}</svg>\n"
    )


def pieces(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The words outside of entities, each with the space before it, and the entities with their types."""
    text, end = record["text"], 0
    for entity in sorted(record["entities"], key=lambda e: e["start"]):
        yield from ((f"{word} ", "") for word in text[end : entity["start"]].split())
        yield text[entity["start"] : entity["end"]], entity["label"]
        end = entity["end"]
        if text[end : end + 1] == " ":
            yield " ", ""
    yield from ((f"{word} ", "") for word in text[end:].split())


def piece(text: str, kind: str, colour: str, left: float, top: float) -> str:
    """A piece of text, in a frame with its type if it has one; `textLength` holds it to its width."""
    if not text.strip():
        return ""
    length = f'textLength="{len(text.rstrip()) * ADVANCE:.1f}" lengthAdjust="spacingAndGlyphs"'
    words = escape(text.rstrip())
    if not kind:
        return f'<text x="{left:.1f}" y="{top}" fill="{INK}" {length}>{words}</text>'
    width = len(text) * ADVANCE + 2 * PAD + (len(kind) + 1) * SMALL_ADVANCE
    after = left + PAD + (len(text) + 0.4) * ADVANCE
    return (
        f'<rect x="{left:.1f}" y="{top - 21}" width="{width:.1f}" height="30" rx="5" fill="{colour}"/>'
        f'<text x="{left + PAD:.1f}" y="{top}" fill="{INK}" {length}>{words}</text>'
        f'<text x="{after:.1f}" y="{top - 1}" font-size="{SMALL}" font-weight="bold" fill="{LABEL}">'
        f"{escape(kind)}</text>"
    )


if __name__ == "__main__":
    sys.exit(main())
