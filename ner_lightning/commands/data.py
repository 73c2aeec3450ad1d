"""`ner-lightning data`: converts, splits and checks annotated data; needs no torch."""

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.data_actions.data_options import ACTIONS, NAMES, RULES, WINDOW, parser
from ner_lightning.commands.data_actions.data_outputs import (
    check_free,
    clear_splits,
    format_like,
    sizes,
    write,
)
from ner_lightning.data.readers import read_options
from ner_lightning.data.writers.output_formats import ANNOTATED, SUFFIX_OF, format_of
from ner_lightning.errors import UserError
from ner_lightning.system.output_checks import check_new, check_not_an_input, writing
from ner_lightning.system.progress import printed, stage
from ner_lightning.system.terminal import print_utf8

if TYPE_CHECKING:
    from ner_lightning.data.corpus_settings import Files
    from ner_lightning.data.sentence import Sentence

PAGE_MARK = b"<title>Data check</title>"  # of a page of ours


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs one of `ACTIONS`; raises UserError at a user's mistake."""
    words = list(args)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return
    if words[0] not in ACTIONS:
        raise UserError(f"there is no `data {words[0]}`; there are {', '.join(ACTIONS)}")
    if words[0] == "audit":  # with a recipe, as fit
        from ner_lightning.commands.data_actions import data_audit

        data_audit.run(f"{subcommand} audit", words[1:])
        return
    options = parser(f"{subcommand} {words[0]}").parse_args(words[1:])
    if words[0] != "check":
        options.input = _with_sample(options.input)
    with printed("stderr"), _without_garbage_collection():
        try:
            {"convert": _convert, "split": _split, "check": _check}[words[0]](options)
        except UserError as error:  # readers name the keys of a recipe
            message = (
                str(error)
                .replace("data.files.format", "--from")
                .replace("--data.files.", "--")
                .replace("data.files.", "--")
            )
            raise UserError(message.replace(" (predict: --words_column)", "")) from None


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Saves the time in which Python would look for cycles among millions of words, which have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _with_sample(names: "str | list[str]") -> "str | list[str]":
    """Inputs with the file of the bundled sample's training sentences in the place of `sample`."""
    from ner_lightning.data.sources import SAMPLE, SAMPLE_FOLDER

    if isinstance(names, str):
        return str(SAMPLE_FOLDER / "train.conll") if names == SAMPLE else names
    return [str(_with_sample(name)) for name in names]


def _convert(options: argparse.Namespace) -> None:
    if options.output == "-":
        _convert_to_stdout(options)
        return
    output = Path(options.output)
    format = options.to or format_of(options.output, ANNOTATED)
    inputs = [Path(name) for name in options.input if name != "-"]
    check_free([output], inputs, overwrite=options.overwrite)
    sentences = _read(options.input, _files(options))
    write(format, output, sentences)
    stage(f"{sizes(sentences)}: {output}")


def _convert_to_stdout(options: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    if options.to is None or options.to in ("parquet", "spacy"):
        raise UserError("--output - needs a format of text: --to jsonl, conll, csv, doccano, ...")
    sentences = _read(options.input, _files(options))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "output"
        write(options.to, file, sentences)
        print_utf8()
        sys.stdout.write(file.read_text(encoding="utf-8"))
    stage(f"{sizes(sentences)}: standard output")


def _split(options: argparse.Namespace) -> None:
    from ner_lightning.data.splitting import divide
    from ner_lightning.data.writers.annotation_writers import cut_texts

    shares = {name: getattr(options, name) for name in ("valid", "test") if getattr(options, name)}
    for name, share in shares.items():
        if not 0 < share < 1:
            raise UserError(
                f"--{name} {share:g} is a share of the words; it must be at least 0 and less than 1"
            )
    shares = {"train": 1 - sum(shares.values()), **shares}
    sentences = _read([options.input], _files(options))
    format = options.to or format_like(Path(options.input), sentences)
    folder = Path(options.output)
    outputs = {name: folder / f"{name}{SUFFIX_OF[format]}" for name in shares}
    check_free(list(outputs.values()), [Path(options.input)], overwrite=options.overwrite)
    division = divide(sentences, shares, options.seed)
    clear_splits(folder, list(outputs.values()), Path(options.input), overwrite=options.overwrite)
    with writing(f"--output {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, path in outputs.items():
        part = cut_texts(sentences, division.parts[name])
        write(format, path, part)
        stage(f"{sizes(part)}: {path}")
    stage(division.summary())


def _check(options: argparse.Namespace) -> None:
    from ner_lightning.analysis.data_check import check_data
    from ner_lightning.analysis.data_page import data_blocks, data_page
    from ner_lightning.analysis.render.terminal_text import terminal
    from ner_lightning.commands.data_actions.data_facts import read_splits
    from ner_lightning.system.atomic import write_text

    if options.json and options.no_text:
        raise UserError("--json has the words of the data; leave it out, or --no-text")
    if options.max_length != WINDOW and options.backbone is None:
        raise UserError("--max_length has no effect without --backbone, whose tokenizer counts; leave it out")
    splits = read_splits(options.input, _files(options), options.backbone, options.max_length)
    if options.output:
        page, named = Path(options.output), f"--output {options.output}"
        check_not_an_input(page, map(Path, splits.origins.values()), named)
        check_new(page, named, marks=(PAGE_MARK,))
    check = check_data(splits.sentences, splits.origins, facts=splits.facts)
    if options.json:
        print_utf8()
        sys.stdout.write(json.dumps(check.to_dict(), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(terminal(data_blocks(check, text=not options.no_text, figures=False)))
    if options.output:
        write_text(Path(options.output), data_page(check, text=not options.no_text))
        stage(f"The same as a page: {options.output}")
    if check.problems:
        titles = "; ".join(finding.title for finding in check.problems)
        raise UserError(f"no model can be trained on {options.input}: {titles}")


def _files(options: argparse.Namespace) -> "Files":
    from ner_lightning.data.corpus_settings import Files

    return Files(
        format=options.source_format,
        **{name: getattr(options, name) for name in (*read_options.COLUMN_OPTIONS, *RULES, *NAMES)},
    )


def _read(inputs: Sequence[str], files: "Files") -> list["Sentence"]:
    """The sentences of several files, whose documents are numbered one after the other."""
    from dataclasses import replace

    from ner_lightning.data.readers.sentences import read_sentences
    from ner_lightning.data.split_files import several_splits

    for name in inputs:
        if names := several_splits(Path(name)):
            raise UserError(
                f"{name} has files of several splits ({names}), which would be joined;\n"
                "name one of them; to join them, name each: ner-lightning data convert A B --output all.jsonl"
            )
    sentences: list[Sentence] = []
    for name in inputs:
        read = read_sentences(name, files.options())
        offset = max((each.document for each in sentences), default=-1) + 1
        sentences += [replace(each, document=each.document + offset) for each in read] if offset else read
    return sentences


def _help() -> str:
    rows = "".join(f"  {name:<12}{what}\n" for name, what in ACTIONS.items())
    return (
        "usage: ner-lightning data ACTION ...\n\n"
        f"{rows}\n`ner-lightning data ACTION --help` lists an action's options.\n"
    )
