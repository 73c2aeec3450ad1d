"""`ner-lightning predict`: tags a file of words or of white-space separated text."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.data import conll, jsonl
from ner_lightning.data.sentence import DataError, Sentence, check_word, is_written_through, read_lines
from ner_lightning.errors import UserError
from ner_lightning.progress import paced, shown, stage
from ner_lightning.terminal import printable

if TYPE_CHECKING:
    from ner_lightning.inference.predictor import Tagged


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: an option, the input, the output or the run is not as it must be.
    """
    parser = _parser(subcommand)
    options = parser.parse_args(args)
    sentences = _to_tag(options)
    if options.output is None and not options.text:
        raise UserError("name where the tags go: --output FILE.jsonl or FILE.conll")
    output = Path(options.output or os.devnull)
    _check_output(output)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from ner_lightning.inference.predictor import NERTagger

    with shown("stderr"):
        tagger = NERTagger.from_run(options.run, root=options.runs, device=options.device)
        stage(f"Tagging {_count(len(sentences), 'sentence', 'sentences')} ...")
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
    done = f"{_count(len(tagged), 'sentence', 'sentences')}, {_count(entities, 'entity', 'entities')}"
    sys.stderr.write(f"{done}: {output}\n")


def marked(item: "Tagged") -> str:
    """A sentence with its entities in brackets: as in `[PER Vera Lindqvist] left`."""
    words = [printable(word) for word in item.words]
    for entity in item.entities:
        words[entity.start] = f"[{printable(entity.type)} {words[entity.start]}"
        words[entity.end - 1] += "]"
    return " ".join(words)


def read_sentences(path: str, word_column: int = 0) -> Iterator[Sentence]:
    """Reads words: CoNLL columns or JSONL by the file's suffix, otherwise a sentence a line.

    Raises:
        UserError: the file is missing, empty, not UTF-8, or malformed.
    """
    if Path(path).suffix in {".conll", ".bio", ".tsv", *jsonl.JSON_SUFFIXES}:
        yield from conll.read(path, word_column=word_column, tagged=False)
        return
    texts = [(number, words) for number, line in enumerate(read_lines(path), 1) if (words := line.split())]
    if not texts:
        raise DataError(f"{path}:1: no sentence in the file; name a file that has some")
    for number, words in texts:
        try:
            yield Sentence(tuple(map(check_word, words)), None, 0)
        except UserError as error:
            raise DataError(f"{path}:{number}: {error}") from None


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _to_tag(options: argparse.Namespace) -> list[Sentence]:
    if options.text and options.input:
        raise UserError("name what to tag once: --input or --text, not both")
    if options.input:
        return list(read_sentences(options.input, options.word_column))
    if not options.text:
        raise UserError("name what to tag: --input FILE, or --text 'words parted by spaces'")
    texts = [words for text in options.text if (words := text.split())]
    if not texts:
        raise UserError("--text holds no word; write a sentence, its words parted by spaces")
    return [Sentence(tuple(map(check_word, words)), None, 0) for words in texts]


def _check_output(file: Path) -> None:
    if not file.parent.is_dir():
        raise UserError(f"--output {file}: there is no folder {file.parent}")
    written = file if is_written_through(file) else file.parent
    if file.is_dir() or not os.access(written, os.W_OK):
        raise UserError(f"--output {file}: no file can be written there")


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
