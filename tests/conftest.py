"""Fixtures: a small Llama, a small BERT, a small corpus, and an environment without accounts."""

import gc
import os
from collections.abc import Callable
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


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny  # here, because the process that hands out tests would wait for transformers

    return tiny.write_llama(tmp_path_factory.mktemp("models") / "llama")


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
    """Makes this CPU one that has instructions for bf16, or not."""
    from ner_lightning.model import devices

    return lambda has: monkeypatch.setattr(devices, "cpu_multiplies_bf16", lambda: has)


@pytest.fixture(autouse=True)
def _no_inherited_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
