"""Fixtures: a small Llama, a small BERT, a small corpus, and an environment without accounts."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before anything imports the libraries that read these.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    WANDB_SILENT="true",
    CUDA_VISIBLE_DEVICES="",
    JSONARGPARSE_DEPRECATION_WARNINGS="off",  # LightningCLI calls what jsonargparse has renamed
)
os.environ.pop("WANDB_API_KEY", None)
gc.disable()  # while tests are collected, since hardly anything that is imported then is garbage


@pytest.hookimpl(trylast=True)  # of what is selected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests may take longest come first, so that two processes end at about the same time."""
    longest: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0.0), marker.args[0] if marker else 0.0)
    items.sort(key=lambda item: -longest[item.path])


def pytest_collection_finish() -> None:
    """Leaves what was imported out of each later garbage collection: a twentieth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.enable()
    if "lightning.pytorch.cli" in sys.modules:
        _make_parsers_once()


def _make_parsers_once() -> None:
    """LightningCLI's parsers are made once for all tests, since each takes a tenth of a second."""
    from lightning.pytorch.cli import LightningCLI

    make, made = LightningCLI.setup_parser, {}
    kept = ("parser", "_subcommand_parsers", "_subcommand_method_arguments")

    def setup_parser(self: LightningCLI, *options: object) -> None:
        key = (type(self), repr(options), *self.subcommands())
        if key not in made:
            make(self, *options)
            made[key] = {name: vars(self)[name] for name in kept if name in vars(self)}
        vars(self).update(made[key])

    LightningCLI.setup_parser = setup_parser


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks() -> Iterator[None]:
    """Files are not forced to the disk: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _file: None)
        yield


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny  # here, because the process that hands out tests would wait for transformers

    return tiny.write_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def llama_files(llama: Path) -> dict[str, bytes]:
    """What a repository with the small Llama holds."""
    return {file.name: file.read_bytes() for file in llama.iterdir()}


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    return tiny.write_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes this CPU one that has fast instructions for bf16, or not."""
    from ner_lightning.model import devices

    return lambda has: monkeypatch.setattr(devices, "cpu_multiplies_bf16", lambda: has)


@pytest.fixture(autouse=True)
def _no_inherited_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
