"""Options that would do nothing are said or refused, each where it has no effect and not where it has one."""

from types import SimpleNamespace

import pytest
import tiny
import yaml

from ner_lightning.commands.lightning_cli.recipe import parser
from ner_lightning.commands.lightning_cli.unused_by_data import report_unused_by_data
from ner_lightning.commands.main import main
from ner_lightning.commands.options.refused_options import refuse_unused
from ner_lightning.commands.options.unused_options import RULES, report_unused
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError


@pytest.fixture
def recipe(tmp_path, llama, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_corpus(tmp_path / "data", repeat=1)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {
            "backbone": str(llama),
            "optimizer": {"head_lr": 0.01},
            "peft": "none",
            "lora": {"rank": 2},
        },
        "data": {"dataset": "data", "batches": {"size": 2, "tokens": 128}},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return "a.yaml"


# Words, and words beside which they have an effect.
IDLE = {
    "--model.lora.rank 3": "--model.peft lora",
    "--model.optimizer.crf_lr 0.1 --model.use_crf false": None,
    "--model.loss.crf 2 --model.use_crf false": None,
    "--model.optimizer.lr 0.1": "--model.architecture.unfreeze_top 1",
    "--model.architecture.unfreeze_top 1 --model.freeze_backbone false --model.peft none": None,
    "--model.cache.folder x": "--model.cache.enabled true",
    "--data.supervision.text_weight 0.5": "--data.supervision.teacher x",
    "--model.revision=main": "--model.backbone org/name",
    "--data.batches.size 3": "--data.batches.tokens null",
    '--data.batches {"size":3,"tokens":9}': None,
    "--data.dataset x --data.source.class_path ner_lightning.data.sources.Source "
    "--data.source.init_args.dataset sample --data.source.init_args.paths {}": None,
    "--data.dataset x --data.train a --data.valid b --data.test c": None,
    "--data.files.config en": "--data.dataset org/name",
    "--log_text always": "--trainer.logger ner_lightning.training.loggers.wandb.NonBlockingWandbLogger",
    "--trainer.gradient_clip_algorithm norm --trainer.gradient_clip_val 0": None,
}


GROUPED = {'--data.batches {"size":3,"tokens":9}': "--data.batches.size"}


def said(recipe, words, caplog):
    caplog.clear()
    caplog.set_level("INFO")
    all_words = ["--config", recipe, *words.split()]
    reader = parser()
    reader.add_argument("--config", action="config")
    report_unused(all_words, reader.parse_args(all_words))
    return caplog.text


@pytest.mark.parametrize("words", IDLE)
def test_what_does_nothing_is_said(recipe, caplog, words):
    option = GROUPED.get(words) or words.partition(" ")[0].partition("=")[0]
    assert f"{option} has no effect here: " in said(recipe, words, caplog)
    effect = IDLE[words]
    if effect is not None:
        assert said(recipe, f"{words} {effect}", caplog) == ""


def test_each_rule_is_tried():
    tried = {words.partition(" ")[0].partition("=")[0].removeprefix("--") for words in IDLE}
    for rule in RULES:
        assert any(option.startswith(name) for option in tried for name in rule.options), rule.reason


def test_settings_of_files_alone_are_not_named(recipe, caplog):
    assert said(recipe, "", caplog) == ""


ONLY_FOR_A_FIT = [
    "model.lora.dropout 0.5",
    "model.loss.kl 1",
    "model.optimizer.paged true",
    "model.runtime.gradient_checkpointing true",
    "model.cache.enabled true",
    "trainer.min_epochs 5",
    "trainer.min_steps 5",
    "trainer.max_time 00:00:01:00",
    "trainer.val_check_interval 0.5",
    "trainer.check_val_every_n_epoch 3",
    "trainer.limit_train_batches 2",
    "trainer.gradient_clip_algorithm value",
    "trainer.num_sanity_val_steps 2",
    "trainer.log_every_n_steps 1",
    "trainer.enable_model_summary true",
    "data.files.unannotated unknown",
    "checkpoint_every_n_steps 3",
]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("test", "--model.optimizer.lr 1"),
        ("test", "--trainer.max_epochs=3"),
        ("test", "--data.valid x"),
        ("validate", "--data.test x"),
        ("validate", "--data.batches.size 3"),
        ("test", "--data.supervision.sentence_weights w.jsonl"),
        ("pretrain", "--config a.yaml --data.supervision.sentence_weights w.jsonl"),
        ("baseline", "--config a.yaml --model.lora.rank 3"),
        ("baseline", "--config a.yaml --trainer.max_epochs 3"),
        ("pretrain", "--config a.yaml --trainer.callbacks x"),
        ("pretrain", "--config a.yaml --model.use_crf false"),
        ("pretrain", "--config a.yaml --model.loss.ce 2"),
        ("pretrain", "--model.cache.enabled true"),
        ("pretrain", "--data.test x"),
        ("pretrain", "--data.files.unannotated unknown"),
        ("pretrain", "--log_text always"),
        ("baseline", "--log_text always"),
        *(("test", f"--{option}") for option in ONLY_FOR_A_FIT),
        *(("validate", f"--{option}") for option in ONLY_FOR_A_FIT),
        ("test", '--data.batches {"eval_size":3,"size":3}'),
        ("validate", '--model={"optimizer":{"lr":3},"use_crf":true}'),
        ("pretrain", '--model {"lora":{"rank":3},"loss":{"ce":3}}'),
        ("test", "--model.optimizer optimizer.yaml"),
    ],
)
def test_options_of_other_commands_are_refused(tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "optimizer.yaml").write_text("lr: 3\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"has no effect in `{command}`; leave it out"):
        refuse_unused(words.split(), command)


@pytest.mark.parametrize(
    ("command", "words", "other"),
    [
        ("test", "--data.test x --data.batches.tokens 9 --trainer.precision 32", "data.valid"),
        ("validate", "--data.valid x --data.batches.eval_size 3", "data.test"),
        ("validate", '--data {"batches":{"tokens":9},"files":{"format":"jsonl"}}', "data.batches.size"),
        ("test", "--trainer.logger x --name y --runs z --seed_everything 3 --model.loss.ce 2", "model.cache"),
        ("baseline", "--model.backbone x --trainer.precision bf16-mixed --data.dataset y", "model.lora.rank"),
        (
            "pretrain",
            "--model.lora.rank 3 --trainer.devices 2 --model.optimizer.lr 1 --data.batches.size 3",
            "model.use_crf",
        ),
        ("pretrain", "--data.supervision.teacher null", "data.supervision.text_weight"),
    ],
)
def test_options_that_a_command_uses_pass(command, words, other):
    refuse_unused(words.split(), command)
    with pytest.raises(UserError, match=f"--{other} has no effect in `{command}`"):  # and no other one
        refuse_unused([*words.split(), f"--{other}=1"], command)


@pytest.mark.parametrize(("command", "option"), [("baseline", "--shots 3"), ("pretrain", "--mask_ratio 0.5")])
def test_a_continued_run_keeps_its_settings(recipe, capsys, command, option):
    assert main([command, "--run", "runs/a/1", *option.split()]) == 2
    assert f"--run resumes with the run's own {option.split()[0]}" in capsys.readouterr().err


def test_the_commands_say_and_refuse_it(recipe, capsys):
    fast = ["--data.limits.train", "4", "--model.attention", "causal"]
    assert main(["fit", "--config", recipe, "--data.batches.size", "3", *fast]) == 0
    expected = "--data.batches.size has no effect here: data.batches.tokens decides how large a batch is."
    assert expected in capsys.readouterr().out
    assert main(["test", "--trainer.max_epochs", "3"]) == 2
    assert "--trainer.max_epochs has no effect in `test`; leave it out" in capsys.readouterr().err


def told(caplog, documents, tags=("O",), **given):
    """What is said of a fit on some sentences, each of a document."""
    caplog.clear()
    caplog.set_level("INFO")
    sentences = [Sentence(("x",) * len(tags), tags, document) for document in documents]
    prints = {"train": "sha256:a", "valid": given.get("fingerprint", "sha256:b")}

    def split(name):
        return SimpleNamespace(sentences=sentences, fingerprint=prints[name])

    passages = [SimpleNamespace(index=index) for index in given.get("passages", [[0, 1]])]
    teacher = given.get("text") is not None and SimpleNamespace(text=given["text"])
    corpus = SimpleNamespace(split=split, teacher=teacher or None, encoded=lambda name: passages)
    data = SimpleNamespace(corpus=corpus, types=given.get("types", ["A", "B"]))
    config = {"dataset": "data", "source": None, "train": None, "valid": None} | given
    config |= {"files": SimpleNamespace(unannotated=given.get("unannotated", "outside"))}
    config |= {"encoding": SimpleNamespace(context=given.get("context"), margin=given.get("margin", 0))}
    config |= {"supervision": SimpleNamespace(text_weight=given.get("text_weight", 1.0))}
    model = SimpleNamespace(loss=SimpleNamespace(missed=given.get("missed", 1.0), kl=given.get("kl", 0.0)))
    report_unused_by_data(SimpleNamespace(model=model, data=SimpleNamespace(**config)), data)
    return caplog.text


def test_what_does_nothing_with_the_data_is_said(caplog):
    assert told(caplog, [0, 1]) == ""
    assert "model.loss.missed has no effect here" in told(caplog, [0, 1], missed=0.5)
    assert told(caplog, [0, 1], ("B-A", "?"), missed=0.5) == ""
    assert "there is no teacher" in told(caplog, [0], kl=1.0)
    assert told(caplog, [0], kl=1.0, text=[]) == ""
    assert "text_weight has no effect here" in told(caplog, [0], kl=1.0, text=[], text_weight=0.5)
    assert told(caplog, [0], kl=1.0, text=["x"], text_weight=0.5) == ""
    assert "differ by case alone" in told(caplog, [0], types=["PER", "Per"])
    assert "The validation data are those of the training" in told(caplog, [0], fingerprint="sha256:a")
    assert "nothing teaches what is outside" in told(caplog, [0, 1], unannotated="unknown")
    assert told(caplog, [0, 1], ("?",), unannotated="unknown", missed=0.5) == ""
    assert "data.encoding.context has no effect here" in told(caplog, [0, 1, 2], context=256)
    assert told(caplog, [0, 0, 1], context=256) == ""
    assert told(caplog, [0, 0, 0], context=256) == ""
    alone = {"context": 5, "passages": [[0], [1], [2]]}
    assert "no two sentences fit into as many sub-tokens" in told(caplog, [0, 0, 0], **alone)
    assert told(caplog, [0, 0, 0], margin=2, **alone) == ""
    assert "the bundled sample's" in told(caplog, [0], dataset="sample", train="mine.jsonl")
    assert told(caplog, [0], dataset="sample", train="mine.jsonl", valid="other.jsonl") == ""
