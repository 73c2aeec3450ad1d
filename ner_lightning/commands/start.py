"""Where fit, validate and test start: checkpoint, stored configuration, run folder."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ner_lightning.commands.consent import stored_options, take_consent
from ner_lightning.commands.options import config_files, named, peek, take, take_run
from ner_lightning.commands.preflight import check_config, read_config
from ner_lightning.data.pretrained import trained_on
from ner_lightning.runs import checkpoint_file
from ner_lightning.runs import folder as runs
from ner_lightning.runs.folder import BEST, LAST, Run
from ner_lightning.runs.shipped import shipped
from ner_lightning.system.atomic import replacing
from ner_lightning.training import ranks
from ner_lightning.training.launch import RUN_VARIABLE

ALL_OPTIONS = "--help-all"  # `--help` is answered by cli.py, without importing anything


@dataclass(frozen=True)
class Start:
    """Where a command starts.

    Attributes:
        words: its options, led by the stored configuration where the user gave none.
        checkpoint: to continue, validate or test from.
        folder: the run folder to write to; None makes a new one.
        held: what the checkpoint says of its settings and data.
    """

    words: list[str]
    checkpoint: Path | None
    folder: Run | None
    held: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def find_start(subcommand: str, args: Sequence[str]) -> Iterator[Start]:
    """Takes RUN, `--run` and `--ckpt_path` out of a command's options and finds what they mean.

    Args:
        subcommand: fit, validate or test.
        args: its options.

    Raises:
        UserError: there is no such run or checkpoint, or it names code of others without consent.
    """
    words = [shipped(word) for word in args]
    for file in config_files(words):
        check_config(file)
    address, which = take_run(words), take(words, "--ckpt_path")
    consent = take_consent(words)
    if ALL_OPTIONS in words:
        yield Start(["--help"], None, None)
        return
    if subcommand == "fit" and address is None and which is None:
        yield Start(named(words), None, None)
        return
    configured = bool(config_files(words))
    root = Path(peek(words, "--runs") or "runs")
    if subcommand == "fit" and address and which in (None, LAST) and (again := _unfinished(address)):
        sys.stderr.write(f"{again.path} has no checkpoint yet, so it begins again.\n")
        begun = again.path / "config.yaml"
        if configured:
            yield Start(words, None, again)
            return
        with stored_options(read_config(begun), begun, consent=consent) as config:
            yield Start([*config, *words], None, again)
        return
    checkpoint = _find(subcommand, address, which, root)
    content = checkpoint_file.load_checkpoint(checkpoint)
    held: dict[str, Any] = {name: content[name] for name in ("config", "data", "backbone") if name in content}
    del content  # all the tensors
    if subcommand == "fit" and configured:
        yield Start(named(words), checkpoint, None, held)
        return
    folder = runs.run_of(checkpoint)
    if folder is None and address is not None and Path(address).is_dir():
        folder = Run(Path(address).resolve())  # a checkpoint that lies elsewhere continues this run
    stored = held["config"]
    if peek(words, "--model.backbone") is None:
        stored = _with_backbone(stored, held["backbone"])
    with stored_options(stored, checkpoint, consent=consent) as config:
        yield Start([*config, *named(words)], checkpoint, folder, held)


def _with_backbone(config: Any, origin: Any) -> Any:
    """A stored configuration that finds its backbone from this folder, too."""
    model = config.get("model") if isinstance(config, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(origin, Mapping) or not model.get("backbone"):
        return config
    return {**config, "model": {**model, "backbone": trained_on(str(model["backbone"]), origin)}}


def run_folder(root: Path, name: str) -> Run:
    """A new run folder. The first rank makes it; others are told of it, and never write there."""
    if ranks.is_first():
        return runs.create(root, name)
    return Run(Path(os.environ.get(RUN_VARIABLE) or Path(tempfile.gettempdir(), "ner-lightning-rank")))


def join_run(run: Run) -> None:
    """Names the run to the ranks that this process starts; one that was started ends with the first.

    Raises:
        UserError: the folder cannot be written.
    """
    if ranks.is_first():
        runs.check_writable(run)
    elif "LOCAL_RANK" in os.environ and RUN_VARIABLE in os.environ:
        ranks.end_with_parent()
    os.environ[RUN_VARIABLE] = str(run.path)


def _unfinished(address: str) -> Run | None:
    """A run that ended before its first checkpoint."""
    run = Run(Path(address).expanduser().resolve())
    begun = (run.path / "config.yaml").is_file() and not list(run.checkpoints.glob("*.ckpt"))
    return run if begun else None


def _find(subcommand: str, address: str | None, which: str | None, root: Path) -> Path:
    if which is not None and which not in (BEST, LAST):
        return runs.resolve(which, BEST, root)
    which = which or (LAST if subcommand == "fit" else BEST)
    folder = Path(address) if address else root / LAST
    if subcommand == "fit" and which == LAST and folder.is_dir():
        _complete(Run(folder.resolve()))
    return runs.resolve(address, which, root)


def _complete(run: Run) -> None:
    """Gives a run that was killed between its first two checkpoints the second one.

    After an epoch `best` is written before `last`, and holds all that `last` would.
    """
    best, last = run.checkpoint(BEST), run.checkpoint(LAST)
    if best.is_file() and not last.exists():
        with replacing(last) as file:
            file.write(best.read_bytes())
