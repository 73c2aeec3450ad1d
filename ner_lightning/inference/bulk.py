"""Tags records block by block: what memory holds is a block, whatever the files' size."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ner_lightning.data.sentence import DataError
from ner_lightning.inference.grouping import grouped
from ner_lightning.inference.io.records import Record
from ner_lightning.inference.io.resumable import Done, Output
from ner_lightning.system import progress
from ner_lightning.system.progress import stage

if TYPE_CHECKING:
    from ner_lightning.inference.io.writers import Writer
    from ner_lightning.inference.ner_tagger import NERTagger

# A block ends at whichever comes first. It is what a stop loses, and where batches end: a command that is
# gone on with makes the same blocks, and so the same batches and the same numbers, to the last bit.
BLOCK_RECORDS = 2048
BLOCK_CHARACTERS = 2**18
AT_A_TERMINAL = 5.0  # seconds between two lines about how far it is


def blocks(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Records in blocks; sentences of one document stay together, unless they are very many."""
    return grouped(
        (record, _shares(record), None if _is_text(record) else number)
        for record, number in numbered(records)
    )


def _shares(record: Record) -> tuple[float, float]:
    content = record.content
    size = len(content) if isinstance(content, str) else sum(map(len, content)) + len(content)
    return 1 / BLOCK_RECORDS, size / BLOCK_CHARACTERS


def _is_text(record: Record) -> bool:
    return isinstance(record.content, str) and not record.reason  # what cannot be tagged is always a string


def numbered(records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
    """Records with the number of the text that each is a part of, from 1."""
    number, source = 0, None
    for record in records:
        number += record.opens or _is_text(record) or record.source != source
        source = record.source
        yield record, number


def check(block: list[Record]) -> None:
    """Checks that all of a block can be tagged.

    Raises:
        DataError: a record cannot; the message says where it is and why.
    """
    for record in block:
        if record.reason:
            raise DataError(f"{record.source}:{record.line}: {record.reason}")


def tag_blocks(
    tagger: "NERTagger",
    found: Iterator[list[Record]],
    writer: "Writer",
    output: Output,
    *,
    strict: bool,
    tokenized: bool,
    share: "Share",
) -> float:
    """Tags blocks and adds their lines to the output.

    Args:
        tagger: the tagger.
        found: the blocks that the output lacks.
        writer: makes lines of what is found.
        output: where they go.
        strict: stop at what cannot be tagged.
        tokenized: words of texts are parted by white space alone.
        share: knows how much of the files is read.

    Returns:
        the seconds that the tagger was at work, reading and writing not counted.

    Raises:
        DataError: something cannot be tagged, and `strict`.
    """
    pace = Pace(output.done.words, share)
    seconds = 0.0
    for block in found:
        if strict:
            check(block)
        kept = [(record, number) for record, number in numbered(block) if not record.reason]
        good = [record for record, _ in kept]
        documents = (record.document(tokenized=tokenized) for record in good)
        began = time.monotonic()
        tagged = list(tagger.tag(documents, [number for _, number in kept]))
        seconds += time.monotonic() - began
        head = "" if output.done.records else writer.head
        output.add(
            head + "".join(writer.row(record, each) for record, each in zip(good, tagged, strict=True)),
            "".join(_reject(record) for record in block if record.reason),
            Done(
                output.done.records + len(block),
                output.done.texts + len(good),
                output.done.words + sum(len(each.tags) for each in tagged),
                output.done.entities + sum(len(each.entities) for each in tagged),
                output.done.rejected + len(block) - len(good),
            ),
        )
        pace(output.done, seconds)
    return seconds


@dataclass
class Share:
    """How much of some files has been read.

    Attributes:
        sizes: of the files, in bytes.
    """

    sizes: list[int]
    _opened: int = 0
    _file: BinaryIO | None = field(default=None, repr=False)

    @classmethod
    def of(cls, files: list[Path]) -> "Share":
        """For files that are about to be read in this order."""
        return cls([file.stat().st_size for file in files])

    def opened(self, file: BinaryIO) -> None:
        """Notes which file is read now."""
        self._file = file
        self._opened += 1

    def __call__(self) -> float | None:
        """The share, None if it is unknown."""
        if self._file is None or not sum(self.sizes):
            return None
        whole = sum(self.sizes[: self._opened - 1])
        size = self.sizes[self._opened - 1]
        here = size if self._file.closed else min(self._file.tell(), size)
        return (whole + here) / sum(self.sizes)


class Pace:
    """Says now and then how far it is, and how fast.

    Args:
        words: that an earlier command has tagged.
        share: of the files.
    """

    def __init__(self, words: int, share: Share) -> None:
        self.before, self.share = words, share
        self._said = time.monotonic()

    def __call__(self, done: Done, seconds: float) -> None:
        """Says a line if it is time for one.

        Args:
            done: what is behind us.
            seconds: that tagging took since the command began.
        """
        now = time.monotonic()
        every = min(AT_A_TERMINAL, progress.EVERY) if sys.stderr.isatty() else progress.EVERY
        if now - self._said < every:
            return
        self._said = now
        share = self.share()
        of_all = "" if share is None else f", {share:.0%} of the input"
        rate = (done.words - self.before) / max(seconds, 1e-9)
        stage(f"{done.texts:,} texts, {done.words:,} words tagged{of_all}, {rate:,.0f} words/s")


def request(files: list[Path], model: Path) -> dict[str, object]:
    """What the outcome depends on beside options: the files to read, and those of the model."""
    kept = (
        [model] if model.is_file() else sorted(model.rglob("*.ckpt")) + sorted(model.rglob("*.safetensors"))
    )
    return {"input files": [_stamp(file) for file in files], "model": [_stamp(file) for file in kept]}


def _stamp(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return str(file), status.st_size, status.st_mtime_ns


def _reject(record: Record) -> str:
    row = {"file": record.source, "line": record.line, "reason": record.reason, "text": record.content}
    return json.dumps(row, ensure_ascii=True) + "\n"
