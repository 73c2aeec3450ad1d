"""NonBlockingWandbLogger: a W&B logger for which training neither waits nor stops."""

import os
import queue
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.runs.folder import SPLIT_OF, Run
from ner_lightning.system.console import say

_VARIABLES = {
    "name": "WANDB_NAME", "group": "WANDB_RUN_GROUP", "job_type": "WANDB_JOB_TYPE", "notes": "WANDB_NOTES",
}  # fmt: skip
PATIENCE = 180.0  # seconds for W&B to finish its uploads at the end


class NonBlockingWandbLogger(WandbLogger):
    """A WandbLogger that logs in a thread of its own.

    If W&B cannot be reached at the start, it logs offline; if it fails later, its values are dropped;
    if it hangs, nothing waits for it. `metrics.csv` has everything in any case.

    Attributes:
        within_fit: whether scores are points of a curve; outside of a fit they go to the summary, since their
            step may lie before the run's last one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.within_fit = True
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._failed = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; offline without a key, or if the server cannot be reached."""
        from wandb.errors import Error

        get: Any = WandbLogger.experiment.fget  # type: ignore[attr-defined]
        if self._experiment is None and not self._failed:
            try:
                self._wandb_init["mode"] = self._wandb_init.get("mode") or self._mode()
                get(self)
            except Error as error:
                say(f"W&B cannot be reached, so it logs offline ({' '.join(str(error).split()):.200}).")
                self._wandb_init["mode"] = "offline"
                get(self)
            # They tell W&B's process what is imported; without that process, later imports would fail.
            from wandb.sdk.lib.import_hooks import unregister_all_post_import_hooks

            unregister_all_post_import_hooks()
        return get(self)

    def _mode(self) -> str | None:
        """W&B's mode, or None for its own default."""
        if self._offline:
            return "offline"
        if mode := os.environ.get("WANDB_MODE"):
            return mode
        import wandb

        if wandb.run is not None or not lacks_key():
            return None
        if wandb.setup().settings.mode in ("offline", "disabled"):  # by W&B's own settings file
            return None
        say(
            "W&B has no key, so it logs offline; `wandb login`, then "
            f"`wandb sync {self.save_dir}/wandb/*run-*` uploads it later."
        )
        return "offline"

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Queues values; returns at once."""
        values = dict(metrics)
        if self.within_fit:
            write = super().log_metrics
            self.submit(lambda: write(values, step))
        else:
            scores = {name: value for name, value in values.items() if name.partition("/")[0] in SPLIT_OF}
            self.summarise(scores)

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Queues values of the run's summary."""
        self.submit(lambda: self.experiment.summary.update(dict(values)))

    def withdraw(self, names: Iterable[str]) -> None:
        """Queues the removal of values of the run's summary, which an offline run need not know."""

        def removed() -> None:
            for name in names:
                del self.experiment.summary[name]

        self.submit(removed)

    @rank_zero_only
    def submit(self, action: Callable[[], object]) -> None:
        """Queues what is done with the W&B run; returns at once."""
        if self._worker is None:
            _ = self.experiment  # in the main thread, as W&B requires
            self._worker = threading.Thread(target=self._work, daemon=True, name="wandb-values")
            self._worker.start()
        self._queue.put(action)

    def attempt(self, what: str, action: Callable[[], object]) -> None:
        """Queues what may fail by itself; the run goes on without it."""

        def tried() -> None:
            try:
                action()
            except Exception as error:
                say(f"W&B did not take {what} ({type(error).__name__}: {error}).")

        self.submit(tried)

    def _work(self) -> None:
        while (action := self._queue.get()) is not None:
            if self._failed:
                continue
            try:
                action()
            except Exception as error:
                self._failed = True
                say(f"W&B failed ({type(error).__name__}: {error}); training continues without it.")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits for the queued values, up to a limit."""
        if self._worker is not None:
            self._queue.put(None)
            self._worker.join(PATIENCE)
            if self._worker.is_alive():
                self._failed = True
            self._worker = None
        if not self._failed:
            super().finalize(status)


def prepare_wandb(
    logger: Any, run: Run, config: Any, command: Sequence[str], overlays: Sequence[str], *, text: bool
) -> None:
    """Completes the options of a W&B logger.

    Args:
        logger: the parsed options of any logger, changed where it is W&B's.
        run: the run: a resumed one keeps its W&B run, and its seeds form a group.
        config: the run's options, for name and tags.
        command: the command line, which becomes the run's notes.
        overlays: config files after the first, for tags.
        text: whether text of the data may be logged; otherwise W&B does not copy the terminal's output, whose
            lines may quote it.
    """
    module, _, name = logger.class_path.rpartition(".")
    if getattr(import_module(module), name) not in (WandbLogger, NonBlockingWandbLogger):
        return
    logger.class_path = f"{NonBlockingWandbLogger.__module__}.{NonBlockingWandbLogger.__name__}"
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ.setdefault(variable, str((run.path / "wandb").resolve()))  # otherwise in the home folder
    arguments = logger.init_args
    known = run.read("run.json").get("wandb_id")
    arguments.id = arguments.id or known
    recipe, number = run.path.parts[-2:]
    named = {"name": f"{recipe}/{number} seed {config.seed_everything}", "group": recipe}
    if known is None:  # what was changed on W&B's pages since stays
        named |= {"job_type": command[1], "notes": shlex.join(command)}
        given = arguments.tags or os.environ.get("WANDB_TAGS", "").split(",")
        arguments.tags = [*filter(None, given), *_tags(config, overlays)]
    for key, value in named.items():
        if not arguments[key] and _VARIABLES[key] not in os.environ:
            arguments[key] = value
    if not text and not arguments.settings:
        arguments.settings = {"console": "off"}


def _tags(config: Any, overlays: Sequence[str]) -> list[str]:
    """Backbone, data set, overlays, adapters and decoder, each of at most 64 characters, W&B's limit."""
    source = config.data.source
    tags = [
        Path(config.model.backbone).name,
        source.class_path.rpartition(".")[2] if source else Path(config.data.dataset).name,
        *(Path(file).stem for file in overlays),
        "no adapters" if config.model.peft == "none" else config.model.peft,
        "crf" if config.model.use_crf else "softmax",
    ]
    return list(dict.fromkeys(tag[:64] for tag in tags if tag))


def lacks_key() -> bool:
    """Whether W&B would ask for a key: it finds none for its server."""
    import wandb

    return not wandb.login(prompt=False, verify=False)


def finish_wandb(folder: str | None) -> None:
    """Ends W&B's run, and W&B itself if it hangs.

    Args:
        folder: the run folder, to say where W&B's local files are.
    """
    if "wandb" not in sys.modules:
        return
    finish = threading.Thread(target=_finish, daemon=True, name="wandb-finish")
    finish.start()
    finish.join(PATIENCE)
    if finish.is_alive():
        say(f"W&B does not respond; `wandb sync {folder}/wandb/*run-*` uploads its local files later.")
        _kill_service()


def _finish() -> None:
    try:
        sys.modules["wandb"].finish()
        sys.modules["wandb"].teardown()  # a later command of this process reads W&B's variables again
    except Exception as error:
        say(f"W&B could not finish ({type(error).__name__}: {error}).")


def _kill_service() -> None:
    """Kills W&B's own process, for which Python would wait at its exit."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text(encoding="utf-8").partition(") ")
        except OSError:
            continue
        if "(wandb" in name and int(rest.split()[1]) == os.getpid():
            os.kill(int(stat.parent.name), signal.SIGKILL)
