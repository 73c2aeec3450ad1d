"""What a caller gave to be tagged, checked: an entry that is no text is named by its index."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_NOT_SEVERAL = (str, bytes, bytearray, Mapping)  # letters, numbers and keys would pass for entries


def texts(given: Iterable[str], name: str = "texts") -> Iterator[str]:
    """Texts one after the other, from any iterable of them.

    Args:
        given: a list, a generator, an array, a column of a table.
        name: how messages call it.

    Raises:
        TypeError: it is no such iterable (at once), or an entry is no text (when it is reached).
    """
    _check_several(given, name, "texts")
    return _texts(given, name)


def sentences(given: Iterable[Iterable[str]], name: str = "words") -> Iterator[list[str]]:
    """Sentences of words one after the other, from any iterable of iterables of words.

    Args:
        given: the words of each sentence.
        name: how messages call it.

    Raises:
        TypeError: it is no such iterable (at once), or a sentence or a word is none (when it is reached).
    """
    _check_several(given, name, "sentences, each with its words")
    return _sentences(given, name)


def _texts(given: Iterable[Any], name: str) -> Iterator[str]:
    for index, text in enumerate(given):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] is {text!a:.40}, not a text")
        yield text


def _sentences(given: Iterable[Any], name: str) -> Iterator[list[str]]:
    for index, words in enumerate(given):
        if isinstance(words, str):
            raise TypeError(
                f"{name}[{index}] is the text {words!a:.40}; give each sentence as a list of words, "
                'as in words=[["Vera", "Holt"]], or texts without words='
            )
        _check_several(words, f"{name}[{index}]", "words")
        yield list(_texts(words, f"{name}[{index}]"))


def _check_several(given: Any, name: str, what: str) -> None:
    if hasattr(given, "columns"):  # a data frame, whose entries are the names of its columns
        raise TypeError(f"{name} is a table; give one of its columns")
    if isinstance(given, _NOT_SEVERAL) or not isinstance(given, Iterable):
        raise TypeError(f"{name} is {given!a:.40}; give a list, or another iterable, of {what}")
