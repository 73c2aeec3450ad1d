"""Every number among the settings has a range, which parser and constructors hold."""

import inspect
import typing

import pytest
from jsonargparse import ArgumentError

from ner_lightning.commands.lightning_cli.recipe import parser
from ner_lightning.commands.options.parser_errors import explain
from ner_lightning.data.corpus_settings import Batches, Encoding, Limits
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.loss import Loss
from ner_lightning.model.tagger_settings import Architecture, Cache
from ner_lightning.system import ranges
from ner_lightning.system.ranges import Ranged
from ner_lightning.training.averaging import WeightAverage
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer

OWNERS = {
    "model": NERModule,
    "model.lora": Lora,
    "model.loss": Loss,
    "model.cache": Cache,
    "model.architecture": Architecture,
    "model.optimizer": Optimizer,
    "data": CoNLLDataModule,
    "data.limits": Limits,
    "data.encoding": Encoding,
    "data.batches": Batches,
}
# Nearest values outside of each range, and some inside it.
EDGES = {
    ranges.PositiveInt: (["0", "-1", "1.5", "true", "many"], ["1", "7"]),
    ranges.NonNegativeInt: (["-1", "0.5", ".inf"], ["0", "7"]),
    ranges.Seed: (["-1", "4294967296"], ["0", "4294967295"]),
    ranges.PositiveFloat: (["0", "-1e-9", "nan", "inf"], ["1e-9", "3"]),
    ranges.NonNegativeFloat: (["-1e-9", "nan", "inf"], ["0", "3"]),
    ranges.UnitInterval: (["-0.1", "1.1", "nan"], ["0", "0.5", "1"]),
    ranges.Probability: (["0", "-0.1", "1.1", "nan"], ["0.01", "1"]),
    ranges.BelowOne: (["-0.1", "1", "nan"], ["0", "0.99"]),
    ranges.UpToHalf: (["-0.1", "0.51", "nan"], ["0", "0.5"]),
}


def settings():
    """Key, type and whether null is allowed of every setting of ours."""
    for prefix, owner in OWNERS.items():
        for name, parameter in inspect.signature(owner).parameters.items():
            kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
            yield f"{prefix}.{name}", kinds[0], type(None) in kinds


RANGED = [(key, kind, optional) for key, kind, optional in settings() if kind in EDGES]
LINKED = {"data.seed": "seed_everything"}


def test_every_number_has_a_range():
    bare = [key for key, kind, _ in settings() if kind in (int, float)]
    assert bare == []
    ranged = {kind for _, kind, _ in settings() if isinstance(kind, type) and issubclass(kind, Ranged)}
    assert ranged == set(EDGES)


@pytest.fixture(scope="module")
def options():
    return parser()


@pytest.mark.parametrize(("key", "kind", "optional"), RANGED)
def test_the_parser_holds_ranges(options, key, kind, optional):
    given = LINKED.get(key, key)
    outside, inside = EDGES[kind]
    for value in outside:
        with pytest.raises(ArgumentError) as caught:
            options.parse_args([f"--{given}={value}"])
        said = explain(str(caught.value), [given])
        assert said.startswith(f"{given} is ")
        assert said.endswith(f"; it must be {kind.words}" + (", or null" if optional else ""))
    for value in inside:
        number = options.parse_args([f"--{given}={value}"])[given]
        assert type(number) is kind.base  # a checkpoint holds plain numbers only
        assert number == float(value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: NERModule(types=["PER"], optimizer=Optimizer(lr=-1)),
            r"model\.optimizer\.lr is -1; it must be a number above 0$",
        ),
        (
            lambda: NERModule(types=["PER"], optimizer=Optimizer(warmup=2)),
            r"model\.optimizer\.warmup is 2; .* from 0 to 1$",
        ),
        (
            lambda: NERModule(types=["PER"], architecture=Architecture(layers=0)),
            r"model\.architecture\.layers is 0; .* at least 1, or null$",
        ),
        (
            lambda: CoNLLDataModule(limits=Limits(train=-1)),
            r"data\.limits\.train is -1; .* at least 1, or null$",
        ),
        (
            lambda: CoNLLDataModule(batches=Batches(size=2.5)),
            r"data\.batches\.size is 2\.5; it must be a whole number",
        ),
        (
            lambda: CoNLLDataModule(batches=Batches(size=True)),
            r"data\.batches\.size is True; it must be a whole number",
        ),
        (lambda: Lora(rank=0), r"model\.lora\.rank is 0"),
        (lambda: Lora(dropout="0.1"), r"model\.lora\.dropout is '0\.1'"),
        (lambda: Loss(ls=-0.1), r"model\.loss\.ls is -0\.1; it must be a number of at least 0"),
        (lambda: Cache(limit_gb=0), r"model\.cache\.limit_gb is 0"),
        (
            lambda: Architecture(dropout=1),
            r"model\.architecture\.dropout is 1; it must be a number of at least 0 and below 1",
        ),
        (
            lambda: WeightAverage(0.6),
            r"model\.optimizer\.averaging is 0\.6; it must be a number from 0 to 0\.5",
        ),
    ],
)
def test_constructors_hold_ranges(make, said):
    with pytest.raises(UserError, match=said):
        make()
