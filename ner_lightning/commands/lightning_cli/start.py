"""Where fit, validate and test start: checkpoint, stored configuration, run folder."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ner_lightning.commands.lightning_cli.run_folder import checkpoint_times
from ner_lightning.commands.options.command_line import peek, take, take_run
from ner_lightning.commands.options.config_files import config_files, find_configs, with_run_name
from ner_lightning.commands.options.consent import stored_options, take_consent
from ner_lightning.commands.options.found_paths import explaining_paths, settings_of, with_found_paths
from ner_lightning.commands.options.given_options import given
from ner_lightning.data.pretrained import moved_members, trained_on
from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.fingerprints import MEMBERS_DATA
from ner_lightning.runs.folder import (
    BEST,
    LAST,
    Run,
    resolve,
    run_of,
    run_path,
    short,
)
from ner_lightning.system.atomic import replacing
from ner_lightning.system.user_paths import expanded
from ner_lightning.training.resuming import check_trainable

ALL_OPTIONS = "--help-all"  # `--help` is answered by main.py, without importing anything
# By which a training leaves out batches, of its validations, too.
_LIMITS = ("limit_train_batches", "limit_val_batches", "overfit_batches", "fast_dev_run")


@dataclass(frozen=True)
class Start:
    """Where a command starts.

    Attributes:
        words: its options, led by the stored configuration where one is used.
        checkpoint: the checkpoint to resume, validate or test.
        run: the run to write to; None makes a new one.
        trained: `config`, `data` (of each member) and `backbone` of the checkpoint, without its tensors.
        checkpoints: those of the run that a training resumes, when it was looked at; see `join_run`.
        run_lock: closed when a training ends, which keeps others from its run until then.
    """

    words: list[str]
    checkpoint: Path | None = None
    run: Run | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: Mapping[str, int] | None = None
    run_lock: ExitStack = field(default_factory=ExitStack)


_Stored = tuple[Any, Path]  # a configuration that a run folder or a checkpoint holds, and that file


@dataclass(frozen=True)
class _Request:
    """What a command line asks for."""

    words: list[str]  # options, without those below
    training: bool  # whether it is a fit
    address: str | None  # RUN or `--run`
    which: str | None  # `--ckpt_path`: `best`, `last` or a file
    consent: bool  # to run code that a stored configuration names

    @property
    def configured(self) -> bool:
        """Whether it names a config file."""
        return bool(config_files(self.words))

    @property
    def root(self) -> Path:
        """The folder of runs."""
        return expanded(peek(self.words, "--runs") or "runs")


@contextmanager
def find_start(subcommand: str, args: Sequence[str]) -> Iterator[Start]:
    """Finds what RUN, `--run` and `--ckpt_path` mean, and where the command starts.

    Args:
        subcommand: fit, validate or test.
        args: its options.

    Raises:
        UserError: there is no such run or checkpoint, or it names foreign code without consent.
    """
    request = _read_request(subcommand, args)
    start, stored = _find_start(request)
    if start.run is not None:
        _check_folder_is_not_named(args, request, start.run)
    if request.training and start.run is not None:
        start = replace(start, checkpoints=checkpoint_times(start.run))
    if stored is None:
        yield start
        return
    trained_in = run_of(stored[1]) or start.run
    with (
        stored_options(*stored, consent=request.consent) as options,
        explaining_paths(stored[0], trained_in),
    ):
        yield replace(start, words=[*options, *start.words])


def _read_request(subcommand: str, args: Sequence[str]) -> _Request:
    words = find_configs(args)
    address, which = take_run(words), take(words, "--ckpt_path")
    consent = take_consent(words)
    if (backbone := take(words, "--backbone")) is not None:  # as the other commands name it
        words.append(f"--model.backbone={backbone}")
    return _Request(with_run_name(words), subcommand == "fit", address, which, consent)


def _check_folder_is_not_named(args: Sequence[str], request: _Request, run: Run) -> None:
    """Refuses options that would name the folder of a new run, or that of runs where nothing is searched."""
    searched = not request.address and request.which in (None, BEST, LAST)
    names = given(args)
    for option in ("name",) if searched else ("name", "runs"):
        if option in names:
            raise UserError(f"--{option} has no effect here: the run is {short(run.path)}; leave it out")


def _find_start(request: _Request) -> tuple[Start, _Stored | None]:
    """The start, and the stored configuration that leads its options."""
    if ALL_OPTIONS in request.words:
        return Start(["--help"]), None
    if request.training and request.address is None and request.which is None:
        return Start(request.words), None
    unfinished = _without_checkpoint(request)
    if unfinished is not None:
        return _restart(request, unfinished)
    return _from_checkpoint(request)


def _without_checkpoint(request: _Request) -> Run | None:
    """The run to resume, if it was stopped before its first checkpoint."""
    if not (request.training and request.address and request.which in (None, LAST)):
        return None
    run = Run(run_path(request.address, request.root).resolve())
    begun = (run.path / "config.yaml").is_file() and not list(run.checkpoints.glob("*.ckpt"))
    return run if begun else None


def _restart(request: _Request, run: Run) -> tuple[Start, _Stored | None]:
    """Starts a run again in its own folder, with its own configuration unless another is named."""
    sys.stderr.write(f"{run.path} has no checkpoint yet, so it starts again.\n")
    file = run.path / "config.yaml"
    stored = None if request.configured else (settings_of(run, file.name), file)
    return Start(request.words, run=run), stored


def _from_checkpoint(request: _Request) -> tuple[Start, _Stored | None]:
    """Starts from a checkpoint: in its own run, or in a new one where a fit names a config file."""
    checkpoint = _find_checkpoint(request)
    content = load_checkpoint(checkpoint)
    trained: dict[str, Any] = {
        name: content[name] for name in ("config", "data", MEMBERS_DATA, "backbone") if name in content
    }
    if request.training:
        check_trainable(content)
    if request.training and request.configured:
        return Start(request.words, checkpoint, None, trained), None
    config = trained["config"]
    config = _with_backbone(config, trained["backbone"], peek(request.words, "--model.backbone"))
    if not request.training:
        config = _without_limits(config)
    run = run_of(checkpoint)
    # After the backbone, of which one that is not there is refused.
    config, trained["config"] = (with_found_paths(each, run) for each in (config, trained["config"]))
    named = run_path(request.address, request.root).resolve() if request.address else None
    if named is not None and named.is_dir():
        if run is not None and run.path.resolve() != named:
            raise UserError(
                f"the run is named twice, as {request.address} and by --ckpt_path {request.which}; "
                "name it once"
            )
        run = run or Run(named)  # a checkpoint from elsewhere resumes this run
    if run is not None and not request.training and run.is_not_best(checkpoint):
        sys.stderr.write(
            f"{short(run.path)} keeps the scores of its checkpoint `best`; "
            f"those of `{checkpoint.stem}` go to a folder of their own.\n"
        )
        run = None
    return Start(request.words, checkpoint, run, trained), (config, checkpoint)


def _find_checkpoint(request: _Request) -> Path:
    root = request.root
    if request.which is not None and request.which not in (BEST, LAST):
        return resolve(request.which, BEST, root)
    which = request.which or (LAST if request.training else BEST)
    folder = run_path(request.address, root)
    if request.training and which == LAST and folder.is_dir():
        _complete(Run(folder.resolve()))
    return resolve(request.address, which, root)


def _complete(run: Run) -> None:
    """Writes `last` for a run that was killed between its first two checkpoints.

    After an epoch `best` is written before `last`, and holds all that `last` would.

    Raises:
        UserError: it is no training's, so that there is nothing to resume.
    """
    best, last = run.checkpoint(BEST), run.checkpoint(LAST)
    if best.is_file() and not last.exists():
        check_trainable(run.read("run.json"))
        with replacing(last) as file:
            file.write(best.read_bytes())


def _without_limits(config: Any) -> Any:
    """A stored configuration that scores all batches, however few its training or validation had."""
    trainer = config.get("trainer") if isinstance(config, Mapping) else None
    if not isinstance(trainer, Mapping):
        return config
    return {**config, "trainer": {name: value for name, value in trainer.items() if name not in _LIMITS}}


def _with_backbone(config: Any, origin: Any, named: str | None) -> Any:
    """A stored configuration whose backbone is the named one, or is found from the working folder, too."""
    model = config.get("model") if isinstance(config, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(origin, Mapping) or not model.get("backbone"):
        return config
    was = str(model["backbone"])
    now = named or trained_on(was, origin)
    found = {**model, "backbone": now}
    members = model.get("members")
    if isinstance(members, list) and all(isinstance(one, Mapping) for one in members):
        found["members"] = moved_members(members, was, now)
    return {**config, "model": found}
