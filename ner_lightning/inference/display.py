"""Shows a tagged text in a notebook: HTML with its entities marked, in light and dark themes."""

from collections.abc import Iterable
from html import escape
from zlib import crc32

from ner_lightning.system.terminal import printable

HUES = 9  # on the colour wheel; a label has the same one in all results
_SEED = 8  # with which the labels of CoNLL-2003, OntoNotes and WNUT-17 get different hues
_LINES = "white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.7"
# Translucent, with the text's own colour: readable on any background.
_MARK = (
    "background: hsla({hue}, 80%, 50%, 0.22); border-bottom: 2px solid hsl({hue}, 70%, 50%); "
    "color: inherit; border-radius: 3px; padding: 0 0.2em"
)
_LABEL = "font-size: 0.75em; margin-left: 0.3em; opacity: 0.8"


def marked_html(text: str, entities: Iterable[tuple[int, int, str, float]]) -> str:
    """A text with its entities marked; everything in it is escaped.

    Args:
        text: the text.
        entities: first character, index after the last one, label and probability of each, in order.
    """
    parts = []
    done = 0
    for start, end, label, score in entities:
        style = _MARK.format(hue=360 // HUES * (crc32(label.encode(errors="replace"), _SEED) % HUES))
        # Isolated, so that an entity written from right to left does not move its neighbours.
        parts += [
            _text(text[done:start]),
            f'<mark style="{style}" title="{_text(label)}, probability {score:.3f}">'
            f'<bdi>{_text(text[start:end])}</bdi><b style="{_LABEL}">{_text(label)}</b></mark>',
        ]
        done = end
    return f'<div dir="auto" style="{_LINES}">{"".join(parts)}{_text(text[done:])}</div>'


def short(text: str, length: int) -> str:
    """The `repr` of a text, cut to so many characters of it."""
    return repr(text if len(text) <= length else text[: length - 3] + "...")


def _text(text: str) -> str:
    return escape(printable(text, keep="\n\t"))
