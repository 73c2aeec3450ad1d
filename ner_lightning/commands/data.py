"""`ner-lightning data`: converts, splits and checks annotated data; needs no torch."""

import argparse
import gc
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.data_options import ACTIONS, BY_SUFFIX, OUTPUTS, RULES, SUFFIXES, WINDOW, parser
from ner_lightning.data.readers import read_options
from ner_lightning.errors import UserError
from ner_lightning.system.progress import shown, stage

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
        from ner_lightning.commands import data_audit

        data_audit.run(f"{subcommand} audit", words[1:])
        return
    options = parser(f"{subcommand} {words[0]}").parse_args(words[1:])
    with shown("stderr"), _without_garbage_collection():
        try:
            {"convert": _convert, "split": _split, "check": _check}[words[0]](options)
        except UserError as error:  # readers name the keys of a recipe
            message = str(error).replace("--data.files.", "--").replace("data.files.", "--")
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


def _convert(options: argparse.Namespace) -> None:
    if options.output == "-":
        _convert_to_stdout(options)
        return
    output = Path(options.output)
    format = _output_format(options.to, output)
    inputs = [Path(name) for name in options.input if name != "-"]
    _check_free([output], inputs, overwrite=options.overwrite)
    sentences = _read(options.input, _files(options))
    _write(format, output, sentences)
    stage(f"{_counted(sentences)}: {output}")


def _convert_to_stdout(options: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    if options.to is None or options.to in ("parquet", "spacy"):
        raise UserError("--output - needs a format of text: --to jsonl, conll, csv, doccano, ...")
    sentences = _read(options.input, _files(options))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "output"
        _write(options.to, file, sentences)
        sys.stdout.write(file.read_text(encoding="utf-8"))
    stage(f"{_counted(sentences)}: standard output")


def _split(options: argparse.Namespace) -> None:
    from ner_lightning.data.splitting import divide

    shares = {name: getattr(options, name) for name in ("valid", "test") if getattr(options, name)}
    for name, share in shares.items():
        if not 0 < share < 1:
            raise UserError(
                f"--{name} {share:g} is a share of the words; it must be at least 0 and less than 1"
            )
    shares = {"train": 1 - sum(shares.values()), **shares}
    sentences = _read([options.input], _files(options))
    format = options.to or _like(Path(options.input), sentences)
    folder = Path(options.output)
    outputs = {name: folder / f"{name}{SUFFIXES[format]}" for name in shares}
    _check_free(list(outputs.values()), [Path(options.input)], overwrite=options.overwrite)
    division = divide(sentences, shares, options.seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {folder}: {(error.strerror or 'cannot be made').lower()}") from None
    for name, path in outputs.items():
        part = [sentences[index] for index in division.parts[name]]
        _write(format, path, part)
        stage(f"{_counted(part)}: {path}")
    stage(division.summary())


def _check(options: argparse.Namespace) -> None:
    from ner_lightning.analysis.data_check import check_data
    from ner_lightning.analysis.data_page import data_blocks, data_page
    from ner_lightning.analysis.render.terminal_text import terminal
    from ner_lightning.commands.data_facts import read_splits
    from ner_lightning.system.atomic import write_text

    if options.json and options.no_text:
        raise UserError("--json has the words of the data; leave it out, or --no-text")
    if options.max_length != WINDOW and options.backbone is None:
        raise UserError("--max_length has no effect without --backbone, whose tokenizer counts; leave it out")
    splits = read_splits(options.input, _files(options), options.backbone, options.max_length)
    if options.output:
        page = Path(options.output)
        earlier = page.is_file() and PAGE_MARK in page.read_bytes()
        _check_free([page], list(map(Path, splits.origins.values())), overwrite=earlier, option=False)
    check = check_data(splits.sentences, splits.origins, facts=splits.facts)
    if options.json:
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
        **{name: getattr(options, name) for name in (*read_options.COLUMN_OPTIONS, *RULES, "tag_names")},
    )


def _read(inputs: Sequence[str], files: "Files") -> list["Sentence"]:
    """The sentences of several files, whose documents are numbered one after the other."""
    from dataclasses import replace

    from ner_lightning.data.readers.sentences import read_sentences

    sentences: list[Sentence] = []
    for name in inputs:
        read = read_sentences(name, files.options())
        offset = max((each.document for each in sentences), default=-1) + 1
        sentences += [replace(each, document=each.document + offset) for each in read] if offset else read
    return sentences


def _write(format: str, path: Path, sentences: Sequence["Sentence"]) -> None:
    from ner_lightning.data.annotation_writers import WRITERS, annotated_texts

    try:
        if format != "spacy":
            WRITERS[format](path, sentences)
            return
        from ner_lightning.data.readers.docbin import check_spacy
        from ner_lightning.inference.io.columnar import doc_bin_of

        check_spacy()
        doc_bin_of(
            (
                (
                    text.text,
                    [o for offsets in text.offsets for o in offsets],
                    map(len, text.offsets),
                    text.tags,
                )
                for text in annotated_texts(sentences)
            ),
            path,
        )
    except OSError as error:
        raise UserError(f"--output {path}: {(error.strerror or 'cannot be written').lower()}") from None


def _like(source: Path, sentences: Sequence["Sentence"]) -> str:
    """The format of a file's parts: its own if that can be written, or else the next best."""
    if any(sentence.within is not None for sentence in sentences):
        return "doccano"
    return BY_SUFFIX.get(source.suffix.lower(), "jsonl")


def _output_format(asked: str | None, output: Path) -> str:
    format = asked or BY_SUFFIX.get(output.suffix.lower())
    if format is None:
        raise UserError(
            f"--output {output} ends in none of {', '.join(BY_SUFFIX)};\n"
            f"rename it, or name its format with --to ({', '.join(OUTPUTS)})"
        )
    return format


def _check_free(
    outputs: Sequence[Path], inputs: Sequence[Path], *, overwrite: bool, option: bool = True
) -> None:
    """Checks that no input and, unless asked to, no other file is overwritten.

    Args:
        outputs: what will be written.
        inputs: what is read.
        overwrite: other files may be overwritten.
        option: whether the command has an option for that.

    Raises:
        UserError: one would be.
    """
    for output in outputs:
        if any(output.exists() and source.exists() and output.samefile(source) for source in inputs):
            raise UserError(f"--output {output} is what is read; name another one")
        if output.is_dir() or (output.exists() and not overwrite):
            way = (
                "move it away, or write over it with --overwrite"
                if option
                else "name another file, or move it away"
            )
            raise UserError(f"--output {output} exists; {way}")


def _counted(sentences: Sequence["Sentence"]) -> str:
    from ner_lightning.data.schemes import spans

    types = Counter(span.type for sentence in sentences for span in spans(sentence.tags or ()))
    words = sum(len(sentence.words) for sentence in sentences)
    listed = ", ".join(f"{name} {count:,}" for name, count in types.most_common())
    entities = f"{types.total():,} entities" + (f" ({listed})" if types else "")
    return f"{len(sentences):,} sentences, {words:,} words, {entities}"


def _help() -> str:
    rows = "".join(f"  {name:<12}{what}\n" for name, what in ACTIONS.items())
    return (
        "usage: ner-lightning data ACTION ...\n\n"
        f"{rows}\n`ner-lightning data ACTION --help` lists an action's options.\n"
    )
