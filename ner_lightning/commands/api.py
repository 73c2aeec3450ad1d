"""`train`, `distill` and `evaluate`: what the commands do, for Python code and notebooks."""

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from ner_lightning.commands.explained_errors.disk_errors import explain_disk_error
from ner_lightning.commands.main import command_module
from ner_lightning.commands.options.consent import FLAG
from ner_lightning.errors import Interrupted, UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.runs.folder import STAGES, Run, short
from ner_lightning.system.plain_settings import is_numpy_number
from ner_lightning.system.user_paths import expanded
from ner_lightning.training.launch import isolated
from ner_lightning.training.seqeval_check import FIGURES
from ner_lightning.training.summary import by_type_and_all, types_left_out

COMMANDS = {"valid": "validate", "test": "test"}  # what scores a split


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        path: its folder, with checkpoints, metrics and predictions.
        metrics: its `metrics.json`: `val/f1` and the other scores of the best epoch on validation, by type
            under `val/by_type`; empty if nothing was validated.
    """

    path: Path
    metrics: Mapping[str, Any]
    _trust: bool = field(default=False, repr=False)

    @cached_property
    def tagger(self) -> NERTagger:
        """A tagger of the best checkpoint, loaded when it is first used.

        Raises:
            UserError: there is no best checkpoint, since nothing was validated.
        """
        return NERTagger.from_run(str(self.path), trust_remote_code=self._trust)

    def export(self, output: str | Path, *, format: str = "merged") -> Path:
        """Writes a folder that `NERTagger.from_pretrained` loads, as `ner-lightning export` does.

        Args:
            output: the folder to write.
            format: as the command's `--format`: `merged`, `adapter`, `openvino` or `onnx`.

        Returns:
            the folder.

        Raises:
            UserError: the folder cannot be written, or the run cannot be exported so.
        """
        flags = [FLAG] * self._trust
        _call("export", [str(self.path), f"--output={output}", f"--format={format}", *flags])
        return expanded(output)

    def report(self, *, text: bool = True) -> Path:
        """Writes the run's report as Markdown and HTML, as `ner-lightning report` does.

        Args:
            text: whether words of the data appear in it.

        Returns:
            the HTML page.
        """
        _call("report", [str(self.path), *(["--no-text"] if not text else [])])
        return self.path / "report.html"

    def __repr__(self) -> str:
        names = [name for name in ("val/precision", "val/recall", "val/f1") if name in self.metrics]
        scores = ", ".join(f"{name} {self.metrics[name]:.4f}" for name in names)
        return f"RunResult({short(self.path)}: {scores or 'not validated'})"

    def _repr_html_(self) -> str:
        place = f"<p><code>{escape(str(short(self.path)))}</code></p>"
        if "val/by_type" not in self.metrics:
            return f"{place}<p>not validated</p>"
        lines = [["validation", "precision", "recall", "F1", "gold"]]
        for name, row in by_type_and_all(self.metrics, "val").items():
            lines.append([name, *(f"{row[figure]:.4f}" for figure in FIGURES), str(row["gold"])])
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines)
        cut = f"<p>{text}</p>" if (text := types_left_out(self.metrics, "val")) else ""
        return f"{place}<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>{cut}"


def train(
    config: str | Path | Sequence[str | Path],
    overrides: Mapping[str, Any] | None = None,
    *,
    trust_remote_code: bool = False,
) -> RunResult:
    """Trains a tagger, as `ner-lightning fit --config CONFIG` does, and prints what that prints.

    Args:
        config: a recipe, or a recipe and overlays on top of it; `configs/...` are shipped with the package.
        overrides: options by their dotted keys, such as `{"data.dataset": "folder"}`; they win over files.
        trust_remote_code: run Python code that comes with the backbone.

    Returns:
        the run: its folder, its scores on validation, and a tagger of its best checkpoint.

    Raises:
        UserError: an option, a file or a setting is not as it must be; the message says what to do.
        KeyboardInterrupt: Ctrl-C; the run was saved first.
    """
    files = _recipes(config)
    run = _run("fit", [f"--config={file}" for file in files], overrides, trust_remote_code)
    return RunResult(run.path.resolve(), run.read("metrics.json"), trust_remote_code)


def _recipes(config: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """The files of a recipe.

    Raises:
        UserError: there is none.
    """
    files = [config] if isinstance(config, str | Path) else list(config or ())
    if not files:
        raise UserError("name a recipe, such as configs/quickstart.yaml")
    return files


def distill(
    teacher: RunResult | str | Path,
    config: str | Path | Sequence[str | Path],
    overrides: Mapping[str, Any] | None = None,
    *,
    text: str | Path | Sequence[str | Path] = (),
    temperature: float = 1.0,
    trust_remote_code: bool = False,
) -> RunResult:
    """Trains a tagger on the probabilities of another one, as `ner-lightning distill` does.

    Args:
        teacher: what `train` returned, a run folder (of an ensemble, too), a checkpoint or an export.
        config: the student's recipe, as for `train`.
        overrides: its options by their dotted keys; they win over files.
        text: a file or folder of text without tags, or several.
        temperature: divides all scores of teacher and student; above 0.
        trust_remote_code: run Python code that comes with a backbone.

    Returns:
        the student's run.

    Raises:
        UserError: an option, a file or a setting is not as it must be, or the teacher has other entity types.
        KeyboardInterrupt: Ctrl-C; the run was saved first.
    """
    files = _recipes(config)
    words = [str(teacher.path if isinstance(teacher, RunResult) else teacher)]
    texts = [text] if isinstance(text, str | Path) else text
    words += [*(f"--config={file}" for file in files), *(f"--text={file}" for file in texts)]
    run = _run("distill", [*words, f"--temperature={temperature}"], overrides, trust_remote_code)
    return RunResult(run.path.resolve(), run.read("metrics.json"), trust_remote_code)


def evaluate(
    run: RunResult | str | Path | None = None,
    split: str = "test",
    overrides: Mapping[str, Any] | None = None,
    *,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Scores a run's best checkpoint, as `ner-lightning test` or `validate` does, and prints what they print.

    Args:
        run: what `train` returned, a run folder, or a checkpoint; None is the last run.
        split: `test` or `valid`.
        overrides: options by their dotted keys, such as `{"data.test": "other.conll"}`.
        trust_remote_code: run Python code that comes with the backbone, or that the run names.

    Returns:
        the scores by the names that `metrics.json` has for them: `test/f1`, `test/by_type`, ...; those of
        `valid` begin with `val/`.

    Raises:
        UserError: there is no such run or split, or an option is not as it must be.
    """
    if split not in COMMANDS:
        raise UserError(f"split is {split!r}; it must be one of {', '.join(COMMANDS)}")
    path = run.path if isinstance(run, RunResult) else run
    words = [] if path is None else [f"--run={path}"]
    metrics = _run(COMMANDS[split], words, overrides, trust_remote_code).read("metrics.json")
    return {name: value for name, value in metrics.items() if name.startswith(f"{STAGES[split]}/")}


def _run(command: str, words: list[str], overrides: Mapping[str, Any] | None, trust: bool) -> Run:
    """Runs a command that takes the options of `fit`; returns its run."""
    options = option_words(overrides or {})
    run: Run = _call(command, [*words, *options, *[FLAG] * trust], options)
    return run


def _call(command: str, words: list[str], options: Sequence[str] = ()) -> Any:
    """Runs a command in the caller's process, which it leaves as it was."""
    with isolated():
        try:
            return command_module(command).run(command, words)
        except OSError as error:
            raise explain_disk_error(error, command) or error from error
        except Interrupted as stop:
            if stop.signal == signal.SIGINT:
                raise KeyboardInterrupt from stop
            raise
        except SystemExit:
            raise UserError(f"an override asks for help, which only prints: {', '.join(options)}") from None


def option_words(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as words of a command line."""
    return [f"--{key}={_text(key, value)}" for key, value in overrides.items()]


def _text(key: str, value: Any) -> str:
    """A value as it is written after an option."""
    if isinstance(value, str | Path):
        return str(value)
    try:
        return json.dumps(value.item() if is_numpy_number(value) else value, ensure_ascii=False)
    except TypeError:
        raise UserError(
            f"overrides: {key} is {value!r}; it must be a plain value, or a list or dict of plain values"
        ) from None
