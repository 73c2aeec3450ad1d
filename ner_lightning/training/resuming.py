"""Whether a checkpoint can be resumed, validated or tested with the settings and data at hand."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.data.corpus_settings import Encoding, Files, Supervision
from ner_lightning.data.sources import Split
from ner_lightning.errors import UserError
from ner_lightning.model.checkpoint import check_types
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.runs.fingerprints import shared, shortened, training_data
from ner_lightning.system.plain_settings import fixed_keys
from ner_lightning.training.datamodule import SPLITS_OF_STAGE, CoNLLDataModule
from ner_lightning.training.optim import Optimizer

# The settings that a checkpoint fixes: those of its weights, and those that a resumed training must share as
# well. The optimizer's own come with its state from the checkpoint, so that another value would do nothing.
FIXED = {
    "weights": [
        *fixed_keys(TaggerSettings, "weights", "model."),
        *fixed_keys(Encoding, "weights", "data.encoding."),
    ],
    "training": [
        "seed_everything",
        *fixed_keys(TaggerSettings, "training", "model."),
        *fixed_keys(Optimizer, "training", "model.optimizer."),
        *fixed_keys(Files, "training", "data.files."),
        *fixed_keys(Supervision, "training", "data.supervision."),
    ],
}
ANEW = "`ner-lightning fit --config FILE` without a checkpoint"


def check_trainable(about: Mapping[str, Any]) -> None:
    """Checks that a training led to a checkpoint.

    Args:
        about: the checkpoint, or the `run.json` beside it.

    Raises:
        UserError: it is the mean of others.
    """
    if made := about.get("soup"):
        raise UserError(
            f"this is the mean of the weights of {made['members']} runs, so it has no optimizer state to "
            "resume from.\nTrain its members further, and average them again: "
            "ner-lightning ensemble --soup RUN RUN"
        )


def check_settings(
    checkpoint: Mapping[str, Any], given: Mapping[str, Any], *, training: bool, anew: str = ANEW
) -> None:
    """Compares the settings that a checkpoint was trained with with those at hand.

    Args:
        checkpoint: with its `config`, as plain values.
        given: the configuration at hand.
        training: whether it is to be trained further.
        anew: how to train from the beginning.

    Raises:
        UserError: a setting differs that decides what the weights mean.
    """
    trained = _part(checkpoint, "config")
    for level in ("weights", "training") if training else ("weights",):
        for key, old, new in _changed(FIXED[level], trained, given):
            why = (
                "the optimizer goes on as the checkpoint has it, so that another value would do nothing"
                if key.startswith("model.optimizer.")
                else "the order of its sentences follows from it"
                if key == "seed_everything"
                else "it would learn from other tags than before"
                if key.startswith(("data.files.", "data.supervision."))
                else "its weights belong to that setting"
            )
            raise UserError(
                f"{key} is {new}, but the checkpoint was trained with {old}: {why}.\n"
                f"Leave it at {'null' if old is None else old}, or train anew: {anew}."
            )


def check_trained_parts(checkpoint: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Checks that a resumed training trains the CRF if and only if it did before.

    Args:
        checkpoint: with its `config`, as plain values.
        given: the configuration at hand.

    Raises:
        UserError: it does not.
    """
    old, new = (_part(config, "model.loss") for config in (_part(checkpoint, "config"), given))
    trained = [bool(loss.get("crf") or loss.get("kl")) for loss in (old, new)]
    if _part(given, "model").get("use_crf") and old and trained[0] != trained[1]:
        raise UserError(
            f"model.loss.crf is {new.get('crf')}, but the checkpoint was trained with {old.get('crf')}, so "
            f"that its CRF was {'trained' if trained[0] else 'not trained'}.\n"
            f"Leave it at {old.get('crf')}, or train anew: {ANEW}."
        )


def check_data(checkpoint: Mapping[str, Any], data: CoNLLDataModule) -> str | None:
    """Compares the data that a checkpoint was trained on with those at hand.

    Args:
        checkpoint: `config` and, where it knows them, the fingerprints of its `data`.
        data: what would be trained on.

    Returns:
        what to tell the user if the validation data are others.

    Raises:
        UserError: the training data or the entity types are others.
    """
    check_types(_part(checkpoint, "config.data").get("types") or data.types, data.types)
    trained = _part(checkpoint, "data")
    now = fingerprints(data)
    changed = [name for name in SPLITS_OF_STAGE["fit"] if trained.get(name, now[name]) != now[name]]
    if "train" in changed:
        raise UserError(
            f"the training data ({data.corpus.split('train').origin}) are not those that this run was "
            f"trained on:\n{shortened(now['train'])}, not {shortened(trained['train'])}.\n"
            "Restore them to resume it, or train anew: `ner-lightning fit --config FILE`, no checkpoint."
        )
    if "valid" in changed:
        return (
            f"The validation data ({data.corpus.split('valid').origin}) are not those of the epochs "
            f"before: their fingerprint is {shortened(now['valid'])}, not {shortened(trained['valid'])}. "
            "Scores before and after, `best` among them, are not comparable."
        )
    return None


def check_validated(checkpoint: Mapping[str, Any], data: CoNLLDataModule) -> str | None:
    """Checks that a run is validated on the data of its training: the scores become the run's own.

    Args:
        checkpoint: with the fingerprints of its `data`, where it knows them; those of each member of an
            ensemble.
        data: what would be validated on.

    Returns:
        what to tell the user if they were trained on.

    Raises:
        UserError: they are others, or an ensemble may have been trained on some of them.
    """
    split, (first, *others) = data.corpus.split("valid"), training_data(checkpoint)
    if first.get("valid", split.fingerprint) != split.fingerprint:
        raise UserError(
            f"{split.origin} is not what this run was validated on, and its scores would take the place of "
            "the run's own.\n"
            "Restore the validation data, or score this file: ner-lightning test --data.test FILE"
        )
    return _check_apart(split, [each.get("train", "") for each in (first, *others)])


def check_tested(checkpoint: Mapping[str, Any], data: CoNLLDataModule) -> str | None:
    """Compares the data that a run is tested on with those of its training.

    Args:
        checkpoint: with the fingerprints of its `data`, where it knows them; those of each member of an
            ensemble.
        data: what would be tested on.

    Returns:
        what to tell the user if they are the same.

    Raises:
        UserError: they are a part of a file of which other parts, or another state, were trained on.
    """
    split = data.corpus.split("test")
    return _check_apart(split, [each.get("train", "") for each in training_data(checkpoint)])


def _check_apart(split: Split, trained: Sequence[str]) -> str | None:
    """What to tell the user if a split is what was trained on.

    Raises:
        UserError: it is a part of a file, and sentences of the training may be in it.
    """
    found = shared(split.fingerprint, trained)
    if found == "same":
        return f"{split.origin} is what this run was trained on: its scores say nothing of other text."
    if found is not None:
        how = {
            "changed": "a file that has changed since this run was trained, so that it may have",
            "parts": "a file that this run was trained on whole or in other parts, so that it has",
        }
        raise UserError(
            f"{split.origin} is held out of {how[found]} sentences of the training.\n"
            "Train anew, restore the file, or name test data: ner-lightning test --data.test FILE"
        )
    return None


def fingerprints(data: CoNLLDataModule) -> dict[str, str]:
    """The fingerprints of the data that a run trains and validates on."""
    return {name: data.corpus.split(name).fingerprint for name in SPLITS_OF_STAGE["fit"]}


def _changed(
    keys: Sequence[str], trained: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values."""
    adapted = _part(trained, "model").get("peft") == "lora"
    for key in keys:
        group, _, name = key.rpartition(".")
        if group == "model.lora" and not adapted:
            continue
        old, new = _part(trained, group), _part(given, group)
        if name in old and name in new and _plain(old[name]) != _plain(new[name]):
            yield key, old[name], new[name]


def _part(config: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    for name in filter(None, group.split(".")):
        part = config.get(name)
        config = part if isinstance(part, Mapping) else {}
    return config


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
