"""Checks the texts or words that a caller passes; an entry of the wrong type is named by its index."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.running_text import Document, from_text, from_words

_NO_LISTS = (str, bytes, bytearray, Mapping)  # iterable, but over characters, numbers or keys


def checked_documents(
    texts: Iterable[str] | None, words: Iterable[Iterable[str]] | None, numbers: Iterable[int] | None
) -> tuple[list[Document], list[int] | None]:
    """Documents made of the arguments of a call, and their numbers.

    Args:
        texts: a text, or several; None if words are given.
        words: the words of each sentence; None if texts are given.
        numbers: of each sentence of words its document.

    Raises:
        TypeError: both or none of texts and words are given, or an argument or an entry of it is not what it
            must be.
    """
    if (texts is None) == (words is None):
        raise TypeError("give texts or words")
    given = None if numbers is None else list(numbers)
    if words is not None:
        made: list[Document] = list(map(from_words, checked_sentences(words)))
    else:
        assert texts is not None
        made = list(map(from_text, checked_texts([texts] if isinstance(texts, str) else texts)))
    if given is not None and (words is None or len(given) != len(made)):
        raise TypeError("documents has a number for each sentence of words")
    return made, given


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Yields texts, checked one by one.

    Args:
        texts: a list, a generator, an array, a column of a data frame.

    Raises:
        TypeError: it is not such an iterable (at once), or an entry is not a text (when it is reached).
    """
    _check_iterable(texts, "texts", "texts")
    return _texts(texts, "texts")


def checked_sentences(sentences: Iterable[Iterable[str]], name: str = "words") -> Iterator[list[str]]:
    """Yields the words of each sentence, checked one by one.

    Args:
        sentences: any iterable of iterables of words.
        name: the argument's name in messages.

    Raises:
        TypeError: it is not such an iterable (at once), or a sentence or word is invalid (when it is
            reached).
    """
    _check_iterable(sentences, name, "sentences, each with its words")
    return _sentences(sentences, name)


def _texts(texts: Iterable[Any], name: str) -> Iterator[str]:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] is {text!r:.40}, not a text")
        yield text


def _sentences(sentences: Iterable[Any], name: str) -> Iterator[list[str]]:
    for index, words in enumerate(sentences):
        if isinstance(words, str):
            raise TypeError(
                f"{name}[{index}] is the text {words!r:.40}; give each sentence as a list of words, "
                'as in words=[["Vera", "Holt"]], or texts without words='
            )
        _check_iterable(words, f"{name}[{index}]", "words")
        checked = list(_texts(words, f"{name}[{index}]"))
        for number, word in enumerate(checked):
            if is_invisible(word):
                raise TypeError(f"{name}[{index}][{number}] is {word!a}, a word that nobody can see")
        yield checked


def _check_iterable(value: Any, name: str, content: str) -> None:
    if hasattr(value, "columns"):  # a data frame, which iterates over the names of its columns
        raise TypeError(f"{name} is a table; give one of its columns")
    if isinstance(value, _NO_LISTS) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is {value!r:.40}; give a list, or another iterable, of {content}")
