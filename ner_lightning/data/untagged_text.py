"""Untagged text to learn from: the sentences of a file or folder in any format, documents kept whole."""

from dataclasses import dataclass
from typing import Any

from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import check_usable, numbered
from ner_lightning.errors import UserError


@dataclass(frozen=True)
class UntaggedText:
    """The sentences of a text.

    Attributes:
        address: the file or folder, as it was named.
        sentences: the words of each, at least one.
        documents: the document of each, from 0.
    """

    address: str
    sentences: list[list[str]]
    documents: list[int]

    def described(self) -> dict[str, Any]:
        """Where it is from, and how much it is."""
        words = sum(map(len, self.sentences))
        return {"from": self.address, "sentences": len(self.sentences), "words": words}


def read_text(address: str) -> UntaggedText:
    """Reads a file or folder as `predict` does; tags in it are ignored.

    Raises:
        UserError: it cannot be read, or holds no words.
    """
    text = UntaggedText(address, [], [])
    for record, number in numbered(Inputs(address, ReadOptions(tagged=False)).read()):
        check_usable([record])
        words = [piece for piece in record.split().words if piece]
        text.sentences.extend(words)
        text.documents.extend([number] * len(words))
    if not text.sentences:
        raise UserError(f"--text {address} holds no words")
    return text
