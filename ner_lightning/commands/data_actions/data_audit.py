"""`ner-lightning data audit`: which labels of the training data are probably wrong, by cross-validation."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.data_actions.data_audit_outputs import FILES, check_same_audit, write_audit
from ner_lightning.commands.lightning_cli.training_process import STOPPED, started
from ner_lightning.commands.options.command_line import Parser
from ner_lightning.errors import Interrupted, UserError
from ner_lightning.system.progress import printed, stage

if TYPE_CHECKING:
    from ner_lightning.analysis.audit_page import Doubt
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI
    from ner_lightning.data.sentence import Sentence
    from ner_lightning.runs.folder import Run

EXAMPLE = "configs/quickstart.yaml"
SCORES = "scores.jsonl"  # of a fold


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options, rest = parser(subcommand).parse_known_args(args)
    # Here and below: `--help` must not wait for torch and lightning.
    from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI, recipe_words
    from ner_lightning.data.partial_annotation import check_known
    from ner_lightning.data.splitting import divide
    from ner_lightning.system.locks import only_writer

    if options.folds < 2:
        raise UserError(f"--folds is {options.folds}; it must be at least 2")
    output = Path(options.output)
    with (
        recipe_words(rest, None, EXAMPLE) as words,
        ExitStack() as audit_lock,
        without_library_notes(),
        printed("stderr"),
    ):
        recipe = RecipeCLI(words)
        sentences = recipe.datamodule.corpus.split("train").sentences
        origin = recipe.datamodule.corpus.split("train").origin
        check_known("train", origin, sentences)
        types = list(recipe.datamodule.corpus.labels.types)
        shares = {f"fold{number}": 1 / options.folds for number in range(1, options.folds + 1)}
        parts = divide(sentences, shares, options.seed).parts
        check_same_audit(output, _facts(recipe, options, sentences), [*FILES, *parts])
        audit_lock.enter_context(only_writer(output))
        found: dict[int, dict[str, Any]] = {}
        for name, indices in parts.items():
            stage(
                f"{name} of {options.folds}: {len(indices):,} sentences are scored without having been seen"
            )
            found |= _fold(output / name, sentences, indices, rest, types)
        is_part = recipe.datamodule.corpus.limits["train"] == len(sentences)
        first = f"the first {len(sentences):,} sentences of {origin} (data.limits.train)" if is_part else ""
        each = f"Of {first}, each" if first else f"Each sentence of {origin}"
        how = (
            f"{each} was scored by a model that was trained on the {options.folds - 1} other of "
            f"{options.folds} folds."
        )
        write_audit(output, sentences, _ranked(sentences, origin, found), how, first or "the training data")


def _facts(recipe: "RecipeCLI", options: Any, sentences: Sequence["Sentence"]) -> dict[str, Any]:
    """What the folds depend on."""
    import hashlib

    text = json.dumps([(sentence.words, sentence.tags) for sentence in sentences])
    return {
        "folds": options.folds,
        "seed": options.seed,
        "data": hashlib.sha256(text.encode()).hexdigest(),
        "recipe": recipe.text(),
    }


def _fold(
    folder: Path,
    sentences: Sequence["Sentence"],
    indices: Sequence[int],
    recipe: Sequence[str],
    types: Sequence[str],
) -> dict[int, dict[str, Any]]:
    """The scores of a fold's sentences, by their index, read from its file if it is done.

    Raises:
        UserError: its training failed, or its file is damaged.
    """
    from ner_lightning.commands.options.consent import take_consent
    from ner_lightning.system.stored_rows import stored_rows

    scores, trust = folder / SCORES, take_consent([*recipe])
    if not scores.is_file():
        checkpoint = _trained(folder, sentences, indices, recipe, types, trust=trust)
        _score(folder, sentences, indices, checkpoint, trust=trust)
    remedy = "remove the file, and the same command scores this fold again"
    rows = {row["index"]: row for row in stored_rows(scores, ("index", "margin", "predicted"), remedy)}
    if rows.keys() != set(indices):
        raise UserError(f"{scores} does not have the sentences of its fold; {remedy}")
    return rows


def _trained(
    folder: Path,
    sentences: Sequence["Sentence"],
    indices: Sequence[int],
    recipe: Sequence[str],
    types: Sequence[str],
    *,
    trust: bool,
) -> Path:
    """Trains on all other sentences; returns the run's last checkpoint.

    The best one would be chosen by the very tags that are doubted.
    """
    from ner_lightning.commands.options.consent import FLAG
    from ner_lightning.data.corpus_settings import Files
    from ner_lightning.data.writers.annotation_writers import write_json
    from ner_lightning.runs.folder import LAST
    from ner_lightning.runs.ladder_cells import is_done

    own = set(indices)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    write_json(data / "train.jsonl", [each for index, each in enumerate(sentences) if index not in own])
    write_json(data / "valid.jsonl", [sentences[index] for index in indices])
    plain = {f"data.files.{field.name}": field.default for field in fields(Files)}
    others = ("train", "valid", "test", "source", "supervision.sentence_weights", "supervision.teacher")
    plain |= {f"data.{name}": None for name in others}
    plain |= {"data.dataset": str(data), "data.types": json.dumps(list(types))}
    words = [
        "fit",
        *recipe,
        *(f"--{key}={'null' if value is None else value}" for key, value in plain.items()),
    ]
    words += ["--runs", str(folder / "runs"), "--name", "run"]
    made = _latest(folder)
    if made.checkpoint(LAST).is_file() and not is_done(made):
        words = ["fit", "--run", str(made.path), *[FLAG] * trust]
    if not is_done(made):
        with started([sys.executable, "-m", "ner_lightning", *words]) as process:
            pass
        if process.returncode in STOPPED:
            raise Interrupted(STOPPED[process.returncode])
        if process.returncode:
            raise UserError(f"the training in {folder} failed, see above; the same command tries it again")
    return _latest(folder).checkpoint(LAST)


def _latest(folder: Path) -> "Run":
    """The latest run of a fold; one that was killed before its first checkpoint stays behind."""
    from ner_lightning.runs.folder import Run, numbered

    runs = folder / "runs" / "run"
    return Run([runs / "1", *numbered(runs)][-1])


def _score(
    folder: Path, sentences: Sequence["Sentence"], indices: Sequence[int], checkpoint: Path, *, trust: bool
) -> None:
    from ner_lightning.data.readers.jsonl import write_jsonl
    from ner_lightning.inference.audit import audit
    from ner_lightning.inference.ner_tagger import NERTagger

    tagger = NERTagger.from_run(str(checkpoint), trust_remote_code=trust)
    rows = [
        {
            "index": indices[each.number],
            "margin": each.margin,
            "gold_log_prob": each.gold_log_prob,
            "predicted": list(each.predicted),
        }
        for each in audit(tagger, [sentences[index] for index in indices])
    ]
    write_jsonl(folder / SCORES, sorted(rows, key=lambda row: row["index"]))


def _ranked(
    sentences: Sequence["Sentence"], origin: str, found: Mapping[int, Mapping[str, Any]]
) -> list[tuple[int, "Doubt"]]:
    """All sentences with their index, the most doubtful first."""
    from ner_lightning.analysis.audit_page import Doubt

    doubts = [
        (
            index,
            Doubt(
                f"{origin}:{sentence.line}" if sentence.line else f"{origin}, sentence {index + 1}",
                sentence.words,
                sentence.tags or (),
                found[index]["predicted"],
                found[index]["margin"],
                sentence.document,
            ),
        )
        for index, sentence in enumerate(sentences)
    ]
    return sorted(doubts, key=lambda pair: (-pair[1].margin, pair[0]))


def parser(name: str) -> Parser:
    """Its options."""
    made = Parser(
        name,
        "Finds labels of the training data that are probably wrong: trains a recipe on k-1 of k folds, "
        "scores the other one, and ranks sentences by how much the model prefers its own tags. All other "
        "options are those of fit.",
    )
    made.add_argument("--folds", type=int, default=5, help="how many trainings (5)")
    made.add_argument("--seed", type=int, default=1, help="decides which documents are in which fold (1)")
    made.add_argument("--output", default="audit", metavar="DIR", help="folder of the result (audit)")
    return made
