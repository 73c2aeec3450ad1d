"""`ner-lightning predict`: tags a file of words or of white-space separated text."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.analysis.errors import printable
from ner_lightning.data import conll, jsonl
from ner_lightning.data.sentence import Sentence, read_lines
from ner_lightning.errors import UserError
from ner_lightning.progress import paced, shown, stage

if TYPE_CHECKING:
    from ner_lightning.inference.predictor import Tagged


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: an option, the input, the output or the run is not as it must be.
    """
    parser = _parser(subcommand)
    options = parser.parse_args(args)
    if options.text:
        sentences = [Sentence(tuple(text.split()), None, 0) for text in options.text if text.split()]
    elif options.input:
        sentences = list(read_sentences(options.input, options.word_column))
    else:
        raise UserError("name what to tag: --input FILE, or --text 'words parted by spaces'")
    output = Path(options.output or os.devnull)
    if options.output is None and not options.text:
        raise UserError("name where the tags go: --output FILE.jsonl or FILE.conll")
    if not output.parent.is_dir():
        raise UserError(f"--output {options.output}: there is no folder {output.parent}")
    if options.output is not None and (output.is_dir() or not os.access(output.parent, os.W_OK)):
        raise UserError(f"--output {options.output}: no file can be written there")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from ner_lightning.inference.predictor import NERTagger

    with shown("stderr"):
        tagger = NERTagger.from_run(options.run, root=options.runs, device=options.device)
        stage(f"Tagging {len(sentences):,} sentence{'s' * (len(sentences) != 1)} ...")
        found = tagger.stream(sentence.words for sentence in sentences)
        tagged = list(paced(found, "sentences tagged", len(sentences)))
    if options.output is None:
        for item in tagged:
            sys.stdout.write(marked(item) + "\n")
        return
    if output.suffix in jsonl.JSON_SUFFIXES:
        jsonl.write_jsonl(
            output,
            (
                {
                    "words": list(item.words),
                    "predicted": list(item.tags),
                    "entities": [
                        {
                            "type": entity.type,
                            "text": " ".join(item.words[entity.start : entity.end]),
                            "start": entity.start,
                            "end": entity.end,
                            tagger.tagger.probability_name: round(entity.probability, 6),
                        }
                        for entity in item.entities
                    ],
                }
                for item in tagged
            ),
        )
    else:
        conll.write_conll(output, sentences, [item.tags for item in tagged])
    entities = sum(len(item.entities) for item in tagged)
    sys.stdout.write(f"{len(tagged)} sentences, {entities} entities: {output}\n")


def marked(item: "Tagged") -> str:
    """A sentence with its entities in brackets: as in `[PER Vera Lindqvist] left`."""
    words = [printable(word) for word in item.words]
    for entity in item.entities:
        words[entity.start] = f"[{entity.type} {words[entity.start]}"
        words[entity.end - 1] += "]"
    return " ".join(words)


def read_sentences(path: str, word_column: int = 0) -> Iterator[Sentence]:
    """Reads words: CoNLL columns or JSONL by the file's suffix, otherwise a sentence a line.

    Raises:
        UserError: the file is missing, not UTF-8, or malformed.
    """
    if Path(path).suffix in {".conll", ".bio", ".tsv", *jsonl.JSON_SUFFIXES}:
        yield from conll.read(path, word_column=word_column, tagged=False)
        return
    for line in read_lines(path):
        words = tuple(line.split())
        if words:
            yield Sentence(words, None, 0)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"ner-lightning {name}", description="Tags a file with a trained tagger."
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="run folder or checkpoint (default: the last run)"
    )
    parser.add_argument("--text", action="append", help="a sentence, words parted by spaces; may be repeated")
    parser.add_argument("--input", metavar="FILE", help=".conll, .jsonl, or text: a sentence a line")
    parser.add_argument("--output", metavar="FILE", help=".jsonl, or CoNLL columns")
    parser.add_argument("--word_column", type=int, default=0, help="column of the words in CoNLL files")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="the folder of run folders")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    return parser
