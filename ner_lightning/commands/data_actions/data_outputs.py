"""What `ner-lightning data` writes: in which format, and over which files it never does."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.data.writers.output_formats import BY_SUFFIX
from ner_lightning.errors import UserError
from ner_lightning.system.output_checks import check_new, check_not_an_input, writing
from ner_lightning.system.progress import stage
from ner_lightning.system.terminal import counted, shortlist

if TYPE_CHECKING:
    from ner_lightning.data.sentence import Sentence


def write(format: str, path: Path, sentences: Sequence["Sentence"]) -> None:
    """Writes sentences.

    Args:
        format: one of `output_formats.ANNOTATED`.
        path: the file.
        sentences: the sentences.

    Raises:
        UserError: it cannot be written, or spaCy is not installed.
    """
    from ner_lightning.data.writers.annotation_writers import WRITERS

    with writing(f"--output {path}"):
        WRITERS[format](path, sentences)


def format_like(source: Path, sentences: Sequence["Sentence"]) -> str:
    """The format of a file's parts: its own if that can be written, or else the next best."""
    if any(sentence.within is not None for sentence in sentences):
        return "doccano"
    suffix = source.suffix.lower()
    return BY_SUFFIX.get(suffix, "conll" if suffix == ".txt" else "jsonl")  # only columns of .txt are tagged


def check_free(outputs: Sequence[Path], inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Checks that no input and, unless asked to, no other file is overwritten.

    Args:
        outputs: what will be written.
        inputs: what is read.
        overwrite: other files may be overwritten.

    Raises:
        UserError: one would be.
    """
    for output in outputs:
        named = f"--output {output}"
        check_not_an_input(output, inputs, named)
        if output.is_dir() or not overwrite:
            check_new(output, named, remedy="move it away, or write over it with --overwrite")


def clear_splits(folder: Path, outputs: Sequence[Path], source: Path, *, overwrite: bool) -> None:
    """Sees to it that a folder will have no other splits, which may have sentences of those that are written.

    Args:
        folder: where splits are written.
        outputs: their files.
        source: what is divided.
        overwrite: files of other splits may be removed.

    Raises:
        UserError: the folder has one that may not be removed.
    """
    from ner_lightning.data.split_files import splits_in

    others = [path for paths in splits_in(folder, outputs).values() for path in paths if path not in outputs]
    for path in others:
        kept = not path.is_file() or (source.exists() and path.samefile(source))
        if kept or not overwrite:
            way = "move it away" if kept else "move it away, or remove it with --overwrite"
            raise UserError(
                f"--output {folder}: {path.name} there would be read as a split beside the new ones, and may "
                f"have sentences of theirs;\nname another folder, {way}"
            )
    for path in others:
        path.unlink()
        stage(f"{path} is removed: it was a split of earlier parts.")


def sizes(sentences: Sequence["Sentence"]) -> str:
    """How many sentences, words and entities there are."""
    from ner_lightning.data.schemes import spans

    types = Counter(span.type for sentence in sentences for span in spans(sentence.tags or ()))
    words = sum(len(sentence.words) for sentence in sentences)
    listed = shortlist([f"{name} {count:,}" for name, count in types.most_common()])
    entities = counted(types.total(), "entity", "entities") + (f" ({listed})" if types else "")
    return f"{counted(len(sentences), 'sentence')}, {counted(words, 'word')}, {entities}"
