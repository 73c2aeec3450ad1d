"""Loads the tagger that a command's options name."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ner_lightning.inference.ner_tagger import NERTagger


def load_tagger(options: argparse.Namespace, *, bulk: bool) -> "NERTagger":
    """Loads the tagger of RUN, with `--engine`, `--temperature`, `--min_score` and `--overlaps`.

    Args:
        options: the command's.
        bulk: whether full batches matter to `--engine auto`, rather than the time for one sentence.

    Raises:
        UserError: there is no such run or entity type, or its checkpoint or backbone cannot be used.
    """
    # Here and below, not above: `--help` must not wait for torch.
    from ner_lightning.inference.selection import read_min_score, selection

    tagger = read_tagger(options, bulk=bulk)
    if options.temperature is not None:
        tagger.temperature = options.temperature
    if getattr(options, "min_score", None):
        tagger.selection = selection(read_min_score(options.min_score), options.overlaps, tagger.labels.types)
    return tagger


def read_tagger(options: argparse.Namespace, *, bulk: bool) -> "NERTagger":
    """The tagger of RUN as it was trained, on its device and engine; arguments as of `load_tagger`."""
    from ner_lightning.inference.engines.choice import place
    from ner_lightning.inference.loading import read_tagger_files
    from ner_lightning.inference.ner_tagger import NERTagger

    trust = options.trust_remote_code
    files = read_tagger_files(options.run, Path(options.runs), backbone=options.backbone, trust=trust)
    _, engine = place(files, options.device, options.engine, bulk=bulk)
    return NERTagger.of_files(files, options.device, engine)
