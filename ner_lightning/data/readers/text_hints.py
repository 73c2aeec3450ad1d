"""What a file of text without annotation that is read seems to hold, and what to do about it."""

import re

from ner_lightning.data.readers.filetype import HEAD

_XML = re.compile(r"\s*<(?:\?xml|![A-Z]|[A-Za-z][\w:.-]*[\s/>])|<([A-Za-z][\w.-]*)\b[^<>]*>[^<>]+</\1>")
_SLASHED = re.compile(r"\w/(?:O|[BIESLU]-\w+|[A-Z]{3,})(?!\S)")
_MOST_WORDS = 10  # of running text for each one with a slash and a type
_FORMATS = "export JSON lines or CoNLL columns instead"
_PLAIN = "name another format as data.files.format, or a file with annotation"


def why_no_annotation(head: bytes) -> str:
    """Why a text has no annotation, and what to do.

    Args:
        head: its beginning, in UTF-8.
    """
    text = head[: 64 * HEAD].decode("utf-8", errors="replace").removeprefix("\ufeff")
    if _XML.match(text) or _XML.search(text):
        return f"this is XML or text with entities between tags such as <PER>, which is not read;\n{_FORMATS}"
    slashed = _SLASHED.findall(text)
    if len(slashed) > 1 and _MOST_WORDS * len(slashed) >= len(text.split()):
        return (
            "this seems to be text with tags behind words, as in Brinda/PER, which is not read;\n"
            "write a word and its tag per line, as in Brinda B-PER, and a blank line after each sentence"
        )
    return f"this is running text, without tags or entities;\n{_PLAIN}"
