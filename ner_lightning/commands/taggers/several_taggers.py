"""Several taggers in one command: `RUN RUN` or `NAME=RUN`, of which those of one backbone hold it once."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.data.readers.unspaced_text import UNSPACED, is_unspaced
from ner_lightning.errors import UserError
from ner_lightning.system.progress import printed, stage, warn
from ner_lightning.system.terminal import in_colour, print_utf8, printable

if TYPE_CHECKING:
    from ner_lightning.inference.tagger_group import TaggerGroup

_PLAIN = ("text", "output", "target_format", "min_score", "overlaps", "device", "trust_remote_code", "runs")


def load_group(options: argparse.Namespace) -> "TaggerGroup":
    """Loads the taggers of several RUNs, with the command's `--min_score` and `--overlaps`.

    Raises:
        UserError: two have one name, or one cannot be loaded.
    """
    from ner_lightning.inference.selection import read_min_score
    from ner_lightning.inference.tagger_group import TaggerGroup

    group = TaggerGroup(
        root=options.runs,
        device=options.device,
        trust_remote_code=options.trust_remote_code,
        min_score=read_min_score(options.min_score) if options.min_score else None,
        overlaps=options.overlaps,
    )
    for run in options.run or [str(Path(options.runs) / "last")]:
        # A path may have the sign, too.
        name, _, address = ("", "", run) if Path(run).exists() else run.rpartition("=")
        group.add(address, name or None)
    return group


def predict_several(options: argparse.Namespace, default: argparse.Namespace) -> None:
    """Tags `--text` with each of several taggers, and prints what each finds.

    Args:
        options: of `predict`, with several runs.
        default: those of a command line without any.

    Raises:
        UserError: another option is given that is for one tagger.
    """
    given = [name for name, value in vars(options).items() if value != getattr(default, name)]
    names = {"source_format": "from", "target_format": "to"}
    for name in given:
        if name not in (*_PLAIN, "run", "named_runs"):
            raise UserError(f"--{names.get(name, name)} is for one RUN; name one, or tag --text with several")
    if not options.text:
        raise UserError("several RUNs tag --text; name one RUN to tag --input")
    if options.output not in (None, "-") or options.target_format not in (None, "text", "jsonl"):
        raise UserError("several RUNs print text, or with --output - JSONL; name one RUN for other formats")
    with printed("stderr"):
        group = load_group(options)
        if any(map(is_unspaced, options.text)):
            warn(UNSPACED)
        stage("Tagging ...")
        as_json = (options.target_format or ("text" if options.output is None else "jsonl")) == "jsonl"
        _print(group, options.text, as_json=as_json)


def _print(group: "TaggerGroup", texts: Sequence[str], *, as_json: bool) -> None:
    from ner_lightning.inference.io.writers import colors_of, lines_of

    items = [(name, text) for text in texts for name in group]
    width = max(map(len, group))
    if as_json:
        print_utf8()
    for (name, text), tagged in zip(items, group.tag(items), strict=True):
        if as_json:
            row = {"tagger": name, "text": text, "entities": tagged.entity_dicts()}
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            colors = colors_of(group[name].labels.types) if in_colour(sys.stdout) else {}
            sys.stdout.write(f"{printable(name):{width}}  {lines_of(tagged, colors)}")
