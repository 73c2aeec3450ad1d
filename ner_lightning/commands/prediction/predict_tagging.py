"""What `predict` tags with: one process or several, each with the tagger at its temperature."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ner_lightning.commands.prediction.predict_checks import STANDARD_OUTPUT, output_format
from ner_lightning.commands.taggers.tagger_loading import load_tagger
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.runs.fingerprints import shared
from ner_lightning.runs.folder import run_path
from ner_lightning.system.digests import digest_of
from ner_lightning.system.progress import stage, warn
from ner_lightning.system.terminal import in_colour

if TYPE_CHECKING:
    from ner_lightning.data.readers.record import Record
    from ner_lightning.inference.bulk import BlockTagger, TaggedBlock
    from ner_lightning.inference.io.writers import Writer
    from ner_lightning.inference.ner_tagger import NERTagger


class BlockTagging(NamedTuple):
    """What tags blocks, and what writes them.

    Attributes:
        tag: tags blocks, in order.
        writer: of the output.
        tagger: the tagger; None if other processes have it.
    """

    tag: "Callable[[Iterator[list[Record]]], Iterator[TaggedBlock]]"
    writer: "Writer"
    tagger: "NERTagger | None" = None


@contextmanager
def block_tagging(options: argparse.Namespace) -> Iterator[BlockTagging]:
    """Loads what tags the blocks of a command; with `--workers` or `--ray`, in other processes.

    Raises:
        UserError: it cannot be loaded.
    """
    from ner_lightning.inference.block_pool import tag_in_order

    if options.ray is not None:
        from ner_lightning.inference.ray_actors import RayActors

        run = run_path(options.run, Path(options.runs))
        options.run = str(run.absolute())  # actors may run in other folders
        with RayActors(partial(_of_actor, options), options.ray, options.workers) as actors:
            stage(f"Loading the tagger in {actors.count} Ray actors ...")
            yield BlockTagging(partial(tag_in_order, actors), writer_of(options, actors.start()))
    elif options.workers in (None, 1):
        made = block_tagger(options)
        writer = writer_of(options, made.tagger.labels.types)
        yield BlockTagging(partial(map, made), writer, made.tagger)
    else:
        from ner_lightning.inference.worker_pool import WorkerPool

        make, calibrates = partial(_of_worker, options), bool(options.calibrate)
        with WorkerPool(make, options.workers, first_alone=calibrates) as pool:
            yield BlockTagging(partial(tag_in_order, pool), writer_of(options, pool.start().types))


def block_tagger(options: argparse.Namespace) -> "BlockTagger":
    """What tags blocks in this process."""
    from ner_lightning.inference.bulk import BlockTagger

    tagger = calibrated(options)
    return BlockTagger(tagger, writer_of(options, tagger.labels.types).row, options.tokenized)


def _of_worker(options: argparse.Namespace, number: int, temperature: float | None) -> "BlockTagger":
    if temperature is not None:
        options.temperature, options.calibrate = temperature, None
    return block_tagger(options)


def _of_actor(options: argparse.Namespace, number: int, temperature: float | None) -> "BlockTagger":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return block_tagger(options)


def calibrated(options: argparse.Namespace, show: bool = False) -> "NERTagger":
    """The tagger at `--temperature`, or at the one that `--calibrate` finds."""
    if not options.calibrate:
        return load_tagger(options, bulk=bool(options.input))
    from ner_lightning.data.readers.sentences import read_sentences
    from ner_lightning.data.sentence import unknown_entities, unknown_types

    sentences = read_sentences(options.calibrate, read_options(options, tagged=True))
    tagger = load_tagger(options, bulk=True)
    from ner_lightning.inference.calibration import calibrate

    types = tagger.labels.types
    if unknown := unknown_entities(sentences, types):
        warn(unknown_types(options.calibrate, unknown, types))
    if shared(f"sha256:{digest_of(Path(options.calibrate))}", tagger.trained_on) == "same":
        warn(
            f"{options.calibrate} is what the tagger was trained on: it needs sentences that it has not seen."
        )
    stage("Calibrating ...")
    result = calibrate(tagger, sentences)
    line = (
        f"temperature {result.temperature:.3f}: calibration error {result.before:.4f} before, "
        f"{result.after:.4f} after, on {result.entities:,} predicted entities"
    )
    if result.after >= result.before:
        line += "\nThe error is no smaller than at a temperature of 1: leave it out."
    if show:
        sys.stdout.write(line + "\n")
    else:
        stage(line)
    return tagger


def read_options(options: argparse.Namespace, *, tagged: bool = False) -> ReadOptions:
    """How the input is read, or the tagged sentences to calibrate on, which may be in another format.

    Beside an input, `--words_column` names the column of the input alone.
    """
    return ReadOptions(
        None if tagged else options.source_format,
        None if tagged and options.input else options.words_column,
        id_column=options.id_column,
        tagged=tagged,
        whole_files=options.whole_files,
        rules=AnnotationRules(empty_words=options.empty_words),
    )


def writer_of(options: argparse.Namespace, types: Sequence[str]) -> "Writer":
    """The writer of the output."""
    from ner_lightning.data.writers.column_writer import is_tsv
    from ner_lightning.inference.io.writers import writer

    printed = options.output in (None, STANDARD_OUTPUT)
    return writer(
        output_format(options),
        types,
        wide=options.wide,
        color=printed and in_colour(sys.stdout),
        keeps=options.overlaps == "keep",
        terminal=printed,
        tabs=is_tsv(Path(options.output or "")),
    )
