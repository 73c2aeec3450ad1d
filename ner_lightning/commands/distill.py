"""`ner-lightning distill`: trains a tagger on the tag probabilities of another one, or of an ensemble."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options.command_line import Parser, peek, take
from ner_lightning.commands.options.config_files import all_keys, find_configs
from ner_lightning.commands.options.known_names import parse_beside_recipe
from ner_lightning.errors import UserError
from ner_lightning.system.first_rank import is_first

if TYPE_CHECKING:
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI
    from ner_lightning.data.sentence import Sentence
    from ner_lightning.inference.tagger_files import TaggerFiles
    from ner_lightning.runs.folder import Run

EXAMPLE = "configs/smollm2_conll2003.yaml"
TEACHERS = "teachers"  # the folder in that of runs


def run(subcommand: str, args: Sequence[str]) -> "Run":
    """Runs the command; returns the student's run, and raises UserError at a user's mistake."""
    options, rest = parse_beside_recipe(parser(subcommand), _named(args))
    if options.teacher is None:
        raise UserError(f"name the teacher first: ner-lightning {subcommand} RUN --config {EXAMPLE}")
    # Here and below: `--help` must not wait for torch and lightning.
    from ner_lightning.commands import fit
    from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI, recipe_words
    from ner_lightning.commands.options.consent import take_consent
    from ner_lightning.system.progress import printed
    from ner_lightning.system.ranges import PositiveFloat, check_options

    check_options(options, temperature=PositiveFloat)
    if peek(rest, "--data.supervision.teacher") is not None:
        raise UserError("`distill` sets data.supervision.teacher itself; leave it out, or use `fit`")
    if not any(key.name == "model.loss.kl" for _, key in all_keys(find_configs(rest))):
        rest.insert(0, "--model.loss.kl=1.0")  # unless an option after it says otherwise
    with recipe_words(rest, None, EXAMPLE) as words, without_library_notes(), printed("stdout"):
        recipe = RecipeCLI(words)
        folder = _teacher_folder(options, recipe, trust=take_consent(list(rest)))
        del recipe
    more = [f"--runs={options.runs}", f"--data.supervision.teacher={folder}"]
    return fit.run("fit", [*rest, *more], typed=[subcommand, *args])


def _named(args: Sequence[str]) -> list[str]:
    """The words, with the teacher, which may be the first of them, as an option.

    Raises:
        UserError: the teacher is named twice.
    """
    words = list(args)
    teachers = [words.pop(0)] if words and not words[0].startswith("-") else []
    named = list(teachers)
    while (teacher := take(words, "--teacher")) is not None:
        teachers.append(teacher)
        named.append(f"--teacher {teacher}")
    if len(named) > 1:
        raise UserError(f"the teacher is named twice, as {named[0]} and as {named[1]}; name it once")
    return [*(f"--teacher={teacher}" for teacher in teachers), *words]


def _teacher_folder(options: Any, recipe: "RecipeCLI", *, trust: bool) -> Path:
    """The folder with what the teacher says, written at first use."""
    from ner_lightning.data.teacher import ABOUT
    from ner_lightning.inference import loading
    from ner_lightning.system.progress import stage
    from ner_lightning.training import ranks

    corpus, text = recipe.datamodule.corpus, _text(options.text)
    sentences, labels = corpus.split("train").sentences, corpus.labels
    files = loading.read_tagger_files(
        options.teacher, Path(options.runs), backbone=options.backbone, trust=trust
    )
    described = _described(files, options, text)
    about = {
        "key": _key(described, [*sentences, *text], labels.types),
        "types": list(labels.types),
        **described,
    }
    folder: Path = Path(options.runs) / TEACHERS / about["key"][:12]
    failure = folder.with_suffix(".failed")
    if not is_first():
        ranks.await_first(folder / ABOUT, failure)
    elif (folder / ABOUT).is_file():
        stage(f"What the teacher says of these sentences is in {folder} already")
    else:
        with ranks.failing_together(failure):
            _write(folder, files, [*sentences], text, about, options)
    return folder


def _text(addresses: Sequence[str]) -> list["Sentence"]:
    """The untagged sentences of all texts."""
    from ner_lightning.data.sentence import Sentence
    from ner_lightning.data.untagged_text import read_text

    sentences: list[Sentence] = []
    for text in map(read_text, addresses):
        before = sentences[-1].document + 1 if sentences else 0
        pairs = zip(text.sentences, text.documents, strict=True)
        sentences += [Sentence(tuple(words), None, before + document) for words, document in pairs]
    return sentences


def _described(files: "TaggerFiles", options: Any, text: Sequence["Sentence"]) -> dict[str, Any]:
    """What the folder is made from."""
    from ner_lightning.inference.tagger_files import ONNX
    from ner_lightning.model.checkpoint import state_digest
    from ner_lightning.runs.folder import run_of
    from ner_lightning.system.digests import digest_of
    from ner_lightning.system.plain_settings import to_plain

    own = run_of(files.path)
    about = own.read("run.json") if own else {}
    facts = {
        name: about[name] for name in ("command", "seed", "members", "soup", "teacher") if about.get(name)
    }
    digest = state_digest(files.state)
    if files.form == ONNX:  # its weights are in the graph
        digest.update(digest_of(files.path).encode())
    return {
        "teacher": {"run": options.teacher, **facts},
        "weights": digest.hexdigest(),
        "settings": _digest([files.settings, to_plain(files.encoding), files.bf16]),
        "backbone": files.origin.get("weights"),
        "temperature": options.temperature,
        "calibrated": files.temperature,
        "texts": [str(address) for address in options.text],
        "untagged": len(text),
    }


def _key(described: dict[str, Any], sentences: Sequence["Sentence"], types: Sequence[str]) -> str:
    """A digest of all that the teacher's distributions depend on."""
    from ner_lightning.data.teacher import words_digest

    names = ("weights", "settings", "backbone", "temperature", "calibrated", "untagged")
    return _digest([*(described[name] for name in names), words_digest(sentences), list(types)])


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _write(
    folder: Path,
    files: "TaggerFiles",
    sentences: Sequence["Sentence"],
    text: Sequence["Sentence"],
    about: dict[str, Any],
    options: Any,
) -> None:
    """Computes what the teacher says of all sentences, and writes it."""
    from ner_lightning.data.schemes import LabelSet
    from ner_lightning.data.teacher import TeacherWriter
    from ner_lightning.inference.ner_tagger import NERTagger
    from ner_lightning.inference.teaching import check_types, taught
    from ner_lightning.runs.folder import short
    from ner_lightning.system.progress import paced, stage

    labels = LabelSet(tuple(about["types"]))
    tagger = NERTagger.of_files(files, options.device)
    check_types(tagger, labels)
    stage(f"The teacher reads {len(sentences):,} training sentences and {len(text):,} untagged ones ...")
    temperature = options.temperature * files.temperature  # an export has that of its calibration
    writer = TeacherWriter(folder, sentences, text, len(labels))
    try:
        offset = 0
        for part in (sentences, text):
            found = taught(tagger, part, labels, temperature) if part else iter(())
            for one in paced(found, "sentences read by the teacher", len(part)):
                writer.put(offset + one.number, one.marginals, one.transitions, one.entropy)
            offset += len(part)
        writer.finish(about)
    except BaseException:
        writer.discard()
        raise
    stage(f"What the teacher says is in {short(folder)}")


def parser(name: str) -> Parser:
    """Its options."""
    made = Parser(
        name,
        "Trains a tagger on the probabilities that a trained one, or an ensemble, gives to tag sequences, "
        "beside the gold tags: of the training sentences, and of text without tags.",
        usage=f"ner-lightning {name} RUN --config FILE [--OPTION VALUE ...]",
        epilog="Options of `ner-lightning fit` override the student's recipe. Of its loss, model.loss.ce and "
        "model.loss.crf weigh the gold tags, model.loss.kl the teacher; data.supervision.text_weight is that "
        "of untagged text. A stopped run is resumed by `ner-lightning fit RUN`.",
    )
    add = made.add_argument
    add("--teacher", metavar="RUN", help="same as RUN, which is the first word: run, checkpoint or export")
    add(
        "--text",
        action="append",
        default=[],
        metavar="FILE",
        help="text without tags: a file or folder as `predict` reads; may be repeated",
    )
    add("--temperature", type=float, default=1.0, metavar="T", help="divides all scores (default: 1)")
    made.add_backbone()
    made.add_device()
    made.add_runs()
    return made
