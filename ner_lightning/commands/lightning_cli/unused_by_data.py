"""Settings that do nothing with the training data at hand, or not what one expects: `fit` says so."""

from collections.abc import Callable
from typing import Any

from ner_lightning.data.partial_annotation import unknown_words
from ner_lightning.data.sources import SAMPLE
from ner_lightning.data.train_overlap import digests, overlap_with_train
from ner_lightning.runs.fingerprints import shared
from ner_lightning.system.progress import stage
from ner_lightning.training.datamodule import CoNLLDataModule


def report_unused_by_data(config: Any, data: CoNLLDataModule) -> None:
    """Prints which settings of a fit have no effect on its data, or make an outcome that surprises.

    Args:
        config: the parsed options.
        data: what is trained on.
    """
    for holds, text in _CASES:
        if holds(config, data):
            stage(text)
    if not _validated_on_training(config, data) and (line := _copied(data)):
        stage(line)


def _copied(data: CoNLLDataModule) -> str | None:
    """What to say of validation sentences that are training sentences; None if they are few."""
    train, valid = ((s.words for s in data.corpus.split(name).sentences) for name in ("train", "valid"))
    found = overlap_with_train(valid, digests(train))
    if not found.are_many:
        return None
    return f"{found.text('valid')},\nso scores come out too high; `ner-lightning data check` shows them"


def _no_unknown(config: Any, data: CoNLLDataModule) -> bool:
    return config.model.loss.missed < 1 and not unknown_words(data.corpus.split("train").sentences)


def _nothing_outside(config: Any, data: CoNLLDataModule) -> bool:
    return bool(config.data.files.unannotated == "unknown" and config.model.loss.missed == 1)


def _no_teacher(config: Any, data: CoNLLDataModule) -> bool:
    return config.model.loss.kl > 0 and data.corpus.teacher is None


def _no_context(config: Any, data: CoNLLDataModule) -> bool:
    sentences = data.corpus.split("train").sentences
    return bool(config.data.encoding.context) and len({s.document for s in sentences}) == len(sentences) > 1


def _short_context(config: Any, data: CoNLLDataModule) -> bool:
    given = config.data.encoding
    if not given.context or given.margin or _no_context(config, data):
        return False
    return all(len(passage.index) == 1 for passage in data.corpus.encoded("train"))


def _no_text(config: Any, data: CoNLLDataModule) -> bool:
    teacher = data.corpus.teacher
    return config.data.supervision.text_weight != 1 and teacher is not None and not teacher.text


def _validated_on_sample(config: Any, data: CoNLLDataModule) -> bool:
    given = config.data
    return bool(given.dataset == SAMPLE and given.source is None and given.train and not given.valid)


def _types_alike(config: Any, data: CoNLLDataModule) -> bool:
    return len({name.casefold() for name in data.types}) < len(data.types)


def _validated_on_training(config: Any, data: CoNLLDataModule) -> bool:
    trained, validated = (data.corpus.split(name).fingerprint for name in ("train", "valid"))
    return shared(validated, [trained]) == "same"


_CASES: tuple[tuple[Callable[[Any, CoNLLDataModule], bool], str], ...] = (
    (
        _no_unknown,
        "model.loss.missed has no effect here: no tag of the training data is unknown (?); see "
        "data.files.unannotated.",
    ),
    (
        _nothing_outside,
        "data.files.unannotated is unknown and model.loss.missed is 1, so nothing teaches what is outside of "
        "entities: set model.loss.missed below 1.",
    ),
    (
        _no_teacher,
        "model.loss.kl has no effect here: there is no teacher (ner-lightning distill).",
    ),
    (
        _no_context,
        "data.encoding.context has no effect here: each document of the training data has one sentence.",
    ),
    (
        _short_context,
        "data.encoding.context has no effect here: no two sentences fit into as many sub-tokens; raise it.",
    ),
    (
        _no_text,
        "data.supervision.text_weight has no effect here: the teacher has no sentences without tags "
        "(ner-lightning distill --text).",
    ),
    (
        _types_alike,
        "Names of entity types differ by case alone, and are types of their own: ner-lightning data check.",
    ),
    (
        _validated_on_training,
        "The validation data are those of the training: their scores say nothing of other text, nor which "
        "epoch is the best.",
    ),
    (
        _validated_on_sample,
        "Only data.train is given: validation and test are the bundled sample's. Give the file as "
        "data.dataset, and parts of it are held out.",
    ),
)
