import csv
import errno
import json
import os
import re
import shutil
from pathlib import Path
from unittest import mock

import pytest
import tiny
import torch
import yaml
from lightning.pytorch import Trainer
from seqeval.metrics import classification_report, f1_score
from shared import json_rows, same

from ner_lightning.commands import fit as lightning_cli
from ner_lightning.commands.lightning_cli import run_folder
from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.system.locks import only_writer
from ner_lightning.training.callbacks.throughput import MEASURED
from ner_lightning.training.module import NERModule

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def recipe(folder, llama, corpus, **changes):
    """A YAML file with a small complete recipe."""
    config = tiny.recipe(llama, corpus, size=4)
    for dotted, value in changes.items():
        *sections, name = dotted.split("__")
        part = config
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, llama, corpus):
    """A folder with one finished and tested run."""
    folder = tmp_path_factory.mktemp("work")
    before = Path.cwd()
    os.chdir(folder)
    try:
        file = recipe(folder, llama, corpus, trainer__max_epochs=14)
        assert main(["fit", "--config", file, "--name", "first"]) == 0
        assert main(["test"]) == 0
    finally:
        os.chdir(before)
    return folder


def table(path):
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if v and k not in MEASURED} for row in rows]


def weights(checkpoint):
    held = torch.load(checkpoint, weights_only=True)
    return held["state_dict"] | held.get("averaged", {"weights": {}})["weights"]


def test_a_run_folder_holds_everything(workplace):
    run = workplace / "runs" / "first" / "1"
    assert (workplace / "runs" / "last").resolve() == run
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert names == {
        "config.yaml",
        "run.json",
        "metrics.csv",
        "metrics.json",
        "train_entities.json",
        "train_sentences.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        *(f"predictions.{split}.{kind}" for split in ("valid", "test") for kind in ("jsonl", "conll")),
    }
    described = json.loads((run / "run.json").read_text())
    assert described["seed"] == 3
    assert described["types"] == ["PER", "ORG", "LOC", "MISC"]
    assert described["data"]["train"]["sentences"] == 32
    assert described["data"]["test"]["entities"] == {"PER": 1, "ORG": 1, "LOC": 1, "MISC": 1}
    assert described["versions"]["torch"] == torch.__version__
    assert json.loads((run / "train_entities.json").read_text())["PER"]["Maria Holt"] == 4
    logged = set().union(*(row.keys() for row in table(run / "metrics.csv")))
    assert {f"train/{n}" for n in ("loss", "ce", "crf", "grad_norm")} < logged
    assert {f"val/{n}" for n in ("loss", "accuracy", "precision", "recall", "f1", "f1/PER")} < logged


def test_scores_are_those_of_the_prediction_files(workplace):
    run = workplace / "runs" / "first" / "1"
    metrics = json.loads((run / "metrics.json").read_text())
    for stage, split in (("val", "valid"), ("test", "test")):
        held = json_rows(run / f"predictions.{split}.jsonl")
        gold, predicted = [r["gold"] for r in held], [r["predicted"] for r in held]
        assert [r["sentence"] for r in held] == list(range(len(held)))
        assert metrics[f"{stage}/f1"] == pytest.approx(f1_score(gold, predicted))
        report = classification_report(gold, predicted, output_dict=True, zero_division=0)
        for name, row in metrics[f"{stage}/by_type"].items():
            assert row["gold"] == report[name]["support"]
            assert row["f1"] == pytest.approx(report[name]["f1-score"])
        columns = (run / f"predictions.{split}.conll").read_text().split("\n\n")
        assert [[line.split()[2] for line in c.splitlines()] for c in columns if c] == predicted
        for row in held:
            assert [e["type"] for e in row["entities"]] == [
                tag[2:] for tag in row["predicted"] if tag.startswith("B-")
            ]
            assert all(0 < entity["marginal"] <= 1 for entity in row["entities"])
    assert metrics["val/f1"] > 0.8  # the small corpus can be learnt by heart


def test_a_checkpoint_holds_what_was_trained(workplace, llama):
    run = workplace / "runs" / "first" / "1"
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    names = set(checkpoint["state_dict"])
    assert all("lora_" in n or n.startswith(("tagger.emitter.head", "tagger.decoder.crf")) for n in names)
    assert checkpoint["backbone"]["name"] == str(llama)
    assert checkpoint["hyper_parameters"]["types"] == ["PER", "ORG", "LOC", "MISC"]
    assert checkpoint["config"] == yaml.safe_load((run / "config.yaml").read_text())
    assert checkpoint["config"]["data"]["types"] == ["PER", "ORG", "LOC", "MISC"]


def test_a_fit_may_log_no_step(llama, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = recipe(tmp_path, llama, corpus, trainer__max_epochs=1, trainer__log_every_n_steps=0)
    assert main(["fit", "--config", file]) == 0


def test_what_is_scored_outside_of_a_fit_is_the_merged_model(workplace, tmp_path, monkeypatch):
    place = shutil.copytree(workplace, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(place)
    merged, merge = [], BackboneEmitter.merge
    monkeypatch.setattr(BackboneEmitter, "merge", lambda own, **how: merged.append(own) or merge(own, **how))
    for command in ("validate", "test"):
        assert main([command, "--run", "runs/first/1"]) == 0
        assert not any("lora_" in name for name, _ in merged[-1].named_parameters())
    assert len(merged) == 2
    again, before = (
        json_rows(Path(root) / "runs/first/1/predictions.test.jsonl") for root in (place, workplace)
    )
    assert [row["predicted"] for row in again] == [row["predicted"] for row in before]


def test_predict_reads_words_and_text(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    Path("text.txt").write_text("Vera Lindqvist left Lima .\n\n  Nobody answered . \n", encoding="utf-8")
    assert main(["predict", "--input", "text.txt", "--output", "out.jsonl"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    line = r"^2 texts, 8 words, \d+ entit(y|ies): out.jsonl \([\d,]+ words/s; loaded in [\d.]+ s\)$"
    assert re.search(line, said.err, flags=re.M)
    first, second = json_rows(Path("out.jsonl"))
    assert first["text"] == "Vera Lindqvist left Lima ."
    found = first["entities"][0]
    assert (found["text"], found["label"], found["start"], found["end"]) == ("Vera Lindqvist", "PER", 0, 14)
    assert (found["word_start"], found["word_end"]) == (0, 2)
    assert 0 < found["score"] <= 1
    assert (second["file"], second["line"], second["entities"]) == ("text.txt", 3, [])
    test = str(next(workplace.parent.glob("corpus*/test.txt")))
    Path("in.conll").write_text(Path(test).read_text(), encoding="utf-8")
    assert main(["predict", "runs/last", "--input", "in.conll", "--output", "out.conll"]) == 0
    words, tags = zip(*(ln.split() for ln in Path("out.conll").read_text().split("\n") if ln), strict=True)
    held = json_rows(Path("runs/last/predictions.test.jsonl"))
    assert list(words) == [w for row in held for w in row["words"]]
    assert list(tags) == [t for row in held for t in row["predicted"]]


def test_predict_shows_tagged_text(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    texts = ["--text", "Okoro beat Maria Holt 6-4 at the Baltic Open .", "--text", "The strike ended ."]
    assert main(["predict", *texts]) == 0
    assert capsys.readouterr().out == (
        "[PER Okoro] beat [PER Maria Holt] 6-4 at the [MISC Baltic Open] .\nThe strike ended .\n"
    )


def test_a_tagger_streams_more_sentences_than_it_holds(workplace, monkeypatch):
    monkeypatch.setattr("ner_lightning.inference.scoring.CHUNK", 3)
    tagger = NERTagger.from_run(str(workplace / "runs" / "first" / "1"))
    texts = [" ".join(words) for words, _ in tiny.sentences(tiny.TRAIN)]
    streamed = list(tagger.stream(iter(texts)))
    assert [item.text for item in streamed] == texts
    assert [item.tags for item in streamed] == [item.tags for item in tagger(texts)]
    assert tagger([]) == []


def test_flags_beside_a_checkpoint_win(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    best = "runs/first/1/checkpoints/best.ckpt"
    seen = {}
    monkeypatch.setattr(NERModule, "on_test_start", lambda self: seen.update(self.hparams))
    assert (
        main(
            [
                "test",
                "--ckpt_path",
                best,
                "--model.architecture.constrained",
                "false",
                "--model.loss.ls",
                "0.5",
            ]
        )
        == 0
    )
    assert (seen["architecture"]["constrained"], seen["loss"]["ls"]) == (False, 0.5)
    assert seen["optimizer"]["head_lr"] == 0.03  # the checkpoint's own, with no config given


def test_validate_and_a_checkpoint_taken_out_of_its_run(workplace, monkeypatch, tmp_path, capsys):
    loose = tmp_path / "loose.ckpt"
    loose.write_bytes((workplace / "runs/first/1/checkpoints/best.ckpt").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "--ckpt_path", str(loose)]) == 0
    assert "val entities" in capsys.readouterr().out
    old = json.loads((workplace / "runs/first/1/metrics.json").read_text())
    new = json.loads(next(tmp_path.glob("runs/*/1/metrics.json")).read_text())
    assert new["val/by_type"] == old["val/by_type"]


# Step 8 ends an epoch: that stop comes before validation.
@pytest.mark.parametrize(
    ("steps", "number", "averaging"),
    [
        (3, 2, 0.0),
        pytest.param(8, 15, 0.2, marks=pytest.mark.slow),
        pytest.param(12, 10, 0.2, marks=pytest.mark.slow),
    ],
)
def test_a_signal_and_continue_equals_never_stopped(
    tmp_path, llama, corpus, monkeypatch, capsys, steps, number, averaging
):
    monkeypatch.chdir(tmp_path)
    file = recipe(
        tmp_path, llama, corpus, model__architecture__dropout=0.2, model__optimizer__averaging=averaging
    )
    assert main(["fit", "--config", file, "--name", "whole"]) == 0
    step = NERModule.training_step

    def interrupted(self, batch):
        if self.global_step == steps - 1:
            os.kill(os.getpid(), number)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "training_step", interrupted)
        code = main(["fit", "--config", file, "--name", "parts"])
    assert code == 128 + number
    assert "ner-lightning fit runs/parts/1" in capsys.readouterr().out
    assert main(["fit", "--ckpt_path", "last"]) == 0
    whole, parts = tmp_path / "runs/whole/1", tmp_path / "runs/parts/1"
    assert not (tmp_path / "runs/parts/2").exists()
    one, other = (weights(run / "checkpoints/last.ckpt") for run in (whole, parts))
    assert one.keys() == other.keys()
    assert same(one, other)
    assert table(whole / "metrics.csv") == table(parts / "metrics.csv")
    scores = [json.loads((run / "metrics.json").read_text()) for run in (whole, parts)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("failing", "every"),
    [pytest.param(0, None, marks=pytest.mark.slow), (7, 3), pytest.param(12, None, marks=pytest.mark.slow)],
)
def test_a_crash_and_continue_equals_never_crashed(
    tmp_path, llama, corpus, monkeypatch, capsys, failing, every
):
    monkeypatch.chdir(tmp_path)
    file = recipe(tmp_path, llama, corpus, model__architecture__dropout=0.2, model__optimizer__averaging=0.2)
    often = [] if every is None else ["--checkpoint_every_n_steps", str(every)]
    assert main(["fit", "--config", file, "--name", "whole", *often]) == 0
    step = NERModule.training_step

    def crashing(self, batch):
        if self.global_step == failing:
            raise ZeroDivisionError
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "training_step", crashing)
        with pytest.raises(ZeroDivisionError):
            main(["fit", "--config", file, "--name", "parts", *often])
    parts = tmp_path / "runs/parts/1"
    saved = [torch.load(c, weights_only=True)["global_step"] for c in parts.glob("checkpoints/last.ckpt")]
    assert saved == {0: [], 7: [6], 12: [8]}[failing]
    (parts / "checkpoints").mkdir(exist_ok=True)
    (parts / "checkpoints/.last.ckpt.999999999.tmp").write_bytes(b"half")  # as a killed process leaves it
    capsys.readouterr()
    assert main(["fit", "--run", str(parts), "--ckpt_path", "last"]) == 0
    assert ("starts again" in capsys.readouterr().err) == (failing == 0)
    whole = tmp_path / "runs/whole/1"
    one, other = (weights(run / "checkpoints/last.ckpt") for run in (whole, parts))
    assert same(one, other)
    assert table(whole / "metrics.csv") == table(parts / "metrics.csv")
    assert sorted(p.name for p in parts.rglob("*")) == sorted(p.name for p in whole.rglob("*"))


def test_intervals_end_where_a_validation_comes_as_well(tmp_path, llama, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = recipe(tmp_path, llama, corpus, trainer__max_epochs=1, trainer__val_check_interval=1)
    saved = []
    save = Trainer.save_checkpoint

    def noting(self, path, *args, **options):
        if Path(path).stem == "last":
            saved.append(self.global_step)
        save(self, path, *args, **options)

    monkeypatch.setattr(Trainer, "save_checkpoint", noting)
    assert main(["fit", "--config", file, "--checkpoint_every_n_steps", "4"]) == 0
    assert saved == [4, 8]
    held = torch.load(Path("runs/last/checkpoints/last.ckpt"), weights_only=True)
    scores = [value["score"] for name, value in held["callbacks"].items() if "BestCheckpoint" in name]
    rows = table(Path("runs/last/metrics.csv"))
    assert scores == [pytest.approx(max(float(row["val/f1"]) for row in rows if "val/f1" in row))]
    for words in (["--trainer.limit_val_batches", "0"], ["--trainer.check_val_every_n_epoch", "2"]):
        saved.clear()
        assert main(["fit", "--config", file, "--checkpoint_every_n_steps", "4", *words]) == 0
        assert saved == [4, 8]


def test_a_run_killed_between_its_first_two_checkpoints_continues(workplace, tmp_path, monkeypatch):
    whole, killed = workplace / "runs/first/1", tmp_path / "runs/killed/1"
    shutil.copytree(whole, killed)
    (killed / "checkpoints/last.ckpt").unlink()
    monkeypatch.chdir(tmp_path)
    done = torch.load(killed / "checkpoints/best.ckpt", weights_only=True)["epoch"] + 1
    assert 1 <= done < 14
    # As many epochs as there are: `last` is made of `best`, and nothing is trained.
    options = ["--ckpt_path", "last", "--trainer.max_epochs", str(done)]
    assert main(["fit", "--run", str(killed), *options]) == 0
    one, other = (weights(killed / f"checkpoints/{name}.ckpt") for name in ("best", "last"))
    assert same(one, other)


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_is_trained_by_one_command_at_a_time(workplace, tmp_path, monkeypatch, capsys, begun):
    run = tmp_path / "runs/first/1"
    shutil.copytree(workplace / "runs/first/1", run)
    if not begun:  # the other one has not yet saved anything
        shutil.rmtree(run / "checkpoints")
    monkeypatch.chdir(tmp_path)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with only_writer(run):
        assert main(["fit", "--run", str(run)]) == 2
        if begun:  # what reads a run is not kept from it
            assert main(["predict", str(run), "--text", "Lima"]) == 0
    assert f"another command is writing {run}; wait until it ends, or stop it" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_a_run_that_was_trained_while_a_command_began_is_not_trained_over(
    workplace, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "runs/first/1"
    shutil.copytree(workplace / "runs/first/1", run)
    locked = run_folder.only_writer

    def trained_meanwhile(folder):
        os.utime(run / "checkpoints/last.ckpt", ns=(1, 1))
        return locked(folder)

    monkeypatch.setattr(run_folder, "only_writer", trained_meanwhile)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--run", str(run), "--trainer.max_epochs", "15"]) == 2
    assert f"another command has trained {run} meanwhile" in capsys.readouterr().err
    assert not (run / ".lock").exists()


@pytest.mark.slow
def test_the_average_that_a_fit_scores_is_what_it_keeps(tmp_path, llama, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = {
        "trainer__max_epochs": 6,
        "model__optimizer__schedule": "constant",
        "model__optimizer__averaging": 0.3,
    }
    file = recipe(tmp_path, llama, corpus, **changes)
    assert main(["fit", "--config", file, "--name", "averaged"]) == 0
    run = tmp_path / "runs/averaged/1"
    scored = json.loads((run / "metrics.json").read_text())
    held = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert not torch.equal(
        held["state_dict"]["tagger.emitter.head.weight"], held["averaged"]["weights"]["emitter.head.weight"]
    )
    assert main(["validate", "--run", str(run)]) == 0
    again = json.loads((run / "metrics.json").read_text())
    assert again["val/by_type"] == scored["val/by_type"]
    assert again["val/loss"] == pytest.approx(scored["val/loss"], rel=1e-4)


@pytest.mark.slow
def test_wandb_without_a_key_goes_offline_and_a_continued_run_stays_one(
    tmp_path, llama, corpus, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    file = recipe(tmp_path, llama, corpus, trainer__max_epochs=1)
    logger = "--trainer.logger=lightning.pytorch.loggers.WandbLogger"
    with mock.patch.dict(os.environ, WANDB_MODE="disabled"):
        assert main(["fit", "--config", file, logger, "--name", "earlier"]) == 0
    assert main(["fit", "--config", file, logger, "--trainer.logger.project=trial"]) == 0
    assert "W&B has no key, so it logs offline" in capsys.readouterr().out
    assert "WANDB_MODE" not in os.environ  # a later command may have a key
    run = tmp_path / "runs/recipe/1"
    (first,) = run.glob("wandb/offline-run-*")
    identity = json.loads((run / "run.json").read_text())["wandb_id"]
    assert first.name.endswith(identity)
    assert main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"]) == 0
    assert {p.name.rpartition("-")[2] for p in run.glob("wandb/offline-run-*")} == {identity}
    assert (run / "metrics.csv").is_file()


ELSEWHERE = {"ddp", "pretrain"}  # in test_llama_recipe and test_pretrain
OVERLAYS = [f for f in CONFIGS if f.parent.name == "with" and f.stem not in ELSEWHERE]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda f: f.stem)
def test_overlays_run(tmp_path, llama, corpus, monkeypatch, capsys, overlay):
    monkeypatch.chdir(tmp_path)
    file = recipe(tmp_path, llama, corpus, trainer__max_epochs=1)
    few = ["--trainer.max_epochs", "1", "--model.cache.folder", str(tmp_path / "cache")]
    few += ["--model.lora.top", "1"] if overlay.stem == "cache_top6" else []  # the small model has two layers
    assert main(["fit", "--config", file, "--config", str(overlay), *few]) == 0
    about = json.loads((tmp_path / "runs/last/run.json").read_text())
    share = about["trained_parameters"] / about["parameters"]
    assert (share == 1) == (overlay.stem == "full")
    names = set(weights(tmp_path / "runs/last/checkpoints/best.ckpt"))
    assert any("lora_" in name for name in names) == (overlay.stem not in {"frozen", "full", "cache"})
    assert ("tagger.decoder.crf.transitions" in names) == (overlay.stem != "softmax")


def test_adapters_on_an_unfrozen_backbone_are_called_unusual(tmp_path, llama, corpus, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = recipe(tmp_path, llama, corpus, trainer__max_epochs=1, model__freeze_backbone=False)
    assert main(["fit", "--config", file]) == 0
    assert "which is unusual" in capsys.readouterr().out


def test_shipped_configs_work_in_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "configs/quickstart.yaml", "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["dataset"] == "sample"


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: str(f.relative_to(ROOT / "configs")))
def test_every_shipped_config_parses(file, capsys):
    assert len(CONFIGS) > 5
    schema, text = file.read_text(encoding="utf-8").split("\n", 1)
    path = schema.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / path).resolve() == ROOT / "configs/recipe.schema.json"
    assert text.startswith("# ")
    files = [file] if file.parent.name == "configs" else [ROOT / "configs/llama_crf.yaml", file]
    if len(files) == 2:
        assert len([line for line in text.splitlines() if line]) <= 15
    options = [word for f in files for word in ("--config", str(f))]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *options, "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    given = yaml.safe_load(text)
    for part in ("model", "data"):
        for name, value in (given.get(part) or {}).items():
            if not isinstance(value, dict):
                assert printed[part][name] == value
    assert Path(file).stem not in {"causal"} or printed["model"]["attention"] == "causal"


def test_a_command_neither_touches_nor_names_the_run_of_the_command_before(
    tmp_path, llama, corpus, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    file = recipe(tmp_path, llama, corpus)
    assert main(["fit", "--config", file, "--name", "first"]) == 0
    run = tmp_path / "runs/first/1"
    for item in [*run.rglob("*.*")]:  # so that nothing but its name tells it from a run that wrote nothing
        item.unlink()
    assert (
        main(["fit", "--config", file, "--model.optimizer.lr", "none"]) == 2
    )  # ends before it has a run folder
    assert (run / "checkpoints").is_dir()
    full = OSError(errno.ENOSPC, "No space left on device", "somewhere")
    (run / "checkpoints/last.ckpt").touch()
    monkeypatch.setattr(lightning_cli, "find_start", mock.Mock(side_effect=full))
    assert main(["fit", "--config", file]) == 2
    assert "runs/first/1" not in capsys.readouterr().err


def test_a_run_that_the_environment_names_is_not_the_run_of_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/other/1/checkpoints").mkdir(parents=True)
    monkeypatch.setenv("NER_LIGHTNING_RUN", "runs/other/1")
    assert main(["fit", "--no_such_option", "1"]) == 2
    assert (tmp_path / "runs/other/1").is_dir()
    assert os.environ["NER_LIGHTNING_RUN"] == "runs/other/1"


@pytest.mark.slow
def test_a_threshold_counts_in_the_prediction_file_as_in_prediction(workplace, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(workplace, tmp_path / "copy", symlinks=True))
    assert main(["validate", "--run", "runs/last"]) == 0
    held = json_rows(Path("runs/last/predictions.valid.jsonl"))
    tagger = NERTagger.from_run("runs/last", min_score=0.05, overlaps="keep")
    sentences, documents = [row["words"] for row in held], [row["document"] for row in held]
    for row, tagged in zip(held, tagger(words=sentences, documents=documents), strict=True):
        found = {
            (e.label, e.word_start, e.word_end): e.score for e in (*tagged.entities, *tagged.overlapping)
        }
        likely = {tuple(each[:3]): each[3] for each in row["candidates"]}
        assert likely == pytest.approx(found, abs=1e-3)
        for entity in row["entities"]:
            place = (entity["type"], entity["start"], entity["end"])
            assert entity["marginal"] == pytest.approx(
                likely.get(place, 0), abs=0.05 if place not in likely else 1e-6
            )
    assert main(["report", "runs/last", "--output", "page"]) == 0
    text = Path("page/report.md").read_text(encoding="utf-8")
    assert "## Precision, recall and F1 by threshold" in text
    assert "| best threshold |" in text
