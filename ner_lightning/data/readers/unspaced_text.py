"""Recognises text in scripts without spaces between words, of which running text makes a word a phrase."""

import re

UNSPACED = (
    "Thai, Lao, Khmer and Myanmar text is not split into words, so a phrase is tagged as one word;\n"
    "split it before: give lists of words, or words between spaces and --tokenized"
)
# Thai and Lao, Myanmar with both its extensions, Khmer; letters with their marks.
_PHRASE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f]{20}")


def is_unspaced(text: str) -> bool:
    """Whether a text has 20 letters and marks of Thai, Lao, Khmer or Myanmar without a space.

    Example:
        >>> is_unspaced("\u0e01" * 20), is_unspaced("\u0e01\u0e01 " * 20)
        (True, False)
    """
    return not text.isascii() and _PHRASE.search(text) is not None
