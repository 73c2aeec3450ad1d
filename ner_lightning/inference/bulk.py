"""Tags records block by block, so that memory holds one block whatever the size of the input."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ner_lightning.data.readers.record import Record, check_usable, numbered
from ner_lightning.errors import UserError
from ner_lightning.inference.grouping import grouped
from ner_lightning.inference.io.resumable import Output, Totals
from ner_lightning.system.progress import Throttle, stage

if TYPE_CHECKING:
    from ner_lightning.inference.ner_tagger import NERTagger
    from ner_lightning.inference.result import Tagged
from ner_lightning.runs.folder import MANIFEST

# A block ends at whichever comes first. A stop loses at most one block. Batches end where blocks do, so a
# resumed command makes the same batches, and the same scores to the last bit.
BLOCK_RECORDS = 2048
BLOCK_CHARACTERS = 2**18
AT_A_TERMINAL = 5.0  # seconds between two lines about progress
# Files of an exported folder that decide what it predicts, beside its weights: the manifest, and graphs.
_BESIDE_WEIGHTS = (MANIFEST, "*.onnx*", "openvino.*")


def blocks(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Records in blocks; those of one document stay together, unless they are very many."""
    return grouped(
        (record, _fractions(record), None if record.is_text and record.document is None else number)
        for record, number in numbered(records)
    )


def with_documents(records: Iterable[Record]) -> Iterator[Record]:
    """The same records; sentences of words name their document, those of one alike.

    What the file calls it stays, unless the document before it is called the same; one without a name is
    called by its number.
    """
    last, name = 0, None
    for record, number in numbered(records):
        own = record.document if isinstance(record.document, str | int | float) else None
        if number != last:
            last, name = number, number if own in (None, name) and not record.is_text else own
        yield record._replace(document=name)


def _fractions(record: Record) -> tuple[float, float]:
    content = record.content
    size = len(content) if isinstance(content, str) else sum(map(len, content)) + len(content)
    return 1 / BLOCK_RECORDS, size / BLOCK_CHARACTERS


def usable(blocks: Iterable[list[Record]]) -> Iterator[list[Record]]:
    """The same blocks.

    Raises:
        DataError: a record of the next block cannot be tagged.
    """
    for block in blocks:
        check_usable(block)
        yield block


def skip(records: Iterator[Record], done: Totals) -> None:
    """Reads past the records that an output has already.

    Raises:
        UserError: they are others than those that were tagged, as standard input may be.
    """
    if checksum(islice(records, done.records)) != done.checksum:
        raise UserError(
            f"the first {done.records:,} texts of the input are not those that were tagged before the stop;\n"
            "give the same input to resume, or --restart to start again"
        )


def checksum(records: Iterable[Record]) -> int:
    """A sum over records, so that those of the blocks of an input can be added up."""
    return sum(
        int.from_bytes(blake2b(repr(record[:5]).encode(), digest_size=8).digest(), "big")
        for record in records  # each names its line
    )


class TaggedBlock(NamedTuple):
    """What a block becomes.

    Attributes:
        lines: of the output.
        rejects: of the log of rejects.
        totals: counts of this block.
        seconds: that tagging took, without reading and writing.
    """

    lines: str
    rejects: str
    totals: Totals
    seconds: float


@dataclass(frozen=True)
class BlockTagger:
    """Tags a block of records.

    Attributes:
        tagger: the tagger.
        row: makes the lines of a text.
        tokenized: words of texts are separated by white space alone.
    """

    tagger: "NERTagger"
    row: "Callable[[Record, Tagged], str]"
    tokenized: bool = False

    def __call__(self, block: list[Record]) -> TaggedBlock:
        """Tags it; records with a reason are rejected."""
        taggable = [(record, number) for record, number in numbered(block) if not record.reason]
        documents = (record.split(tokenized=self.tokenized) for record, _ in taggable)
        began = time.monotonic()
        results = list(self.tagger.tag(documents, [number for _, number in taggable]))
        seconds = time.monotonic() - began
        rows = (self.row(record, tagged) for (record, _), tagged in zip(taggable, results, strict=True))
        return TaggedBlock("".join(rows), reject_lines(block), _totals(block, results), seconds)


def write_blocks(tagged: Iterable[TaggedBlock], output: Output, *, head: str, read: "ReadFraction") -> float:
    """Adds the lines of tagged blocks to the output, and prints the progress.

    Args:
        tagged: the blocks that the output does not have yet, in order.
        output: takes the lines.
        head: the first line of the output, if any.
        read: the fraction of the input that has been read.

    Returns:
        the seconds that tagging took.
    """
    due = Throttle(at_terminal=AT_A_TERMINAL)
    words_before, seconds = output.totals.words, 0.0
    for block in tagged:
        first = "" if output.totals.records else head
        output.add(first + block.lines, block.rejects, output.totals + block.totals)
        seconds += block.seconds
        if due():
            totals, fraction = output.totals, read()
            of_input = "" if fraction is None else f", {fraction:.0%} of the input"
            rate = (totals.words - words_before) / max(seconds, 1e-9)
            stage(f"{totals.texts:,} texts, {totals.words:,} words tagged{of_input}, {rate:,.0f} words/s")
    return seconds


def _totals(block: list[Record], results: "list[Tagged]") -> Totals:
    return Totals(
        len(block),
        len(results),
        sum(len(tagged.tags) for tagged in results),
        sum(len(tagged.entities) + len(tagged.overlapping or ()) for tagged in results),
        len(block) - len(results),
        checksum(block),
    )


def reject_lines(block: Iterable[Record]) -> str:
    """The lines of the log of rejects: the records that cannot be tagged, with their reason."""
    rows = (
        {"file": record.source, "line": record.line, "reason": record.reason, "text": record.content}
        for record in block
        if record.reason
    )
    return "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)


@dataclass
class ReadFraction:
    """How much of some files has been read.

    Attributes:
        sizes: the size of each file in bytes, in the order of reading.
    """

    sizes: list[int]
    _opened: int = 0
    _file: BinaryIO | None = field(default=None, repr=False)

    @classmethod
    def of(cls, files: list[Path]) -> "ReadFraction":
        """For files that will be read in this order."""
        return cls([file.stat().st_size for file in files])

    def on_open(self, file: BinaryIO) -> None:
        """Notes that the next file is being read."""
        self._file = file
        self._opened += 1

    def __call__(self) -> float | None:
        """The fraction, from 0 to 1; None if it is unknown."""
        if self._file is None or not sum(self.sizes):
            return None
        before = sum(self.sizes[: self._opened - 1])
        size = self.sizes[self._opened - 1]
        position = size if self._file.closed else min(self._file.tell(), size)
        return (before + position) / sum(self.sizes)


def input_stamps(
    files: list[Path],
    model: Path,
    remote: Sequence[tuple[str, int, int]] = (),
    calibration: Sequence[Path] = (),
) -> dict[str, object]:
    """What the output depends on beside options: the files of the input, of the model and of the calibration.

    Args:
        files: of the input.
        model: a checkpoint, or a folder.
        remote: files of the input that are elsewhere, by path, size and time of change.
        calibration: the files that the temperature is found by.
    """
    decisive = [model]
    if not model.is_file():
        decisive = sorted(model.rglob("*.ckpt")) + sorted(model.rglob("*.safetensors"))
        decisive += sorted(file for pattern in _BESIDE_WEIGHTS for file in model.glob(pattern))
    return {
        "input files": [*remote, *map(_stamp, files)],
        "model": [_stamp(file) for file in decisive],
        "calibration files": [_stamp(file) for file in calibration],
    }


def _stamp(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return str(file), status.st_size, status.st_mtime_ns
