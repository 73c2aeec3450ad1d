"""Trains and scores on 1, 2 and 3 gloo ranks and compares; run by tests, prints what it found as JSON.

`python tests/rank_jobs.py metrics FOLDER` scores one checkpoint on data sets whose sizes do not divide.
`python tests/rank_jobs.py steps FOLDER` trains 20 steps in float64 on one rank and on two.
`python tests/rank_jobs.py accumulation FOLDER` trains with one batch a step and with several.
`python tests/rank_jobs.py modes FOLDER` trains a few steps in each way of training on two ranks.
`python tests/rank_jobs.py torchrun FOLDER` runs a recipe of one device in two ranks of torchrun's.
`python tests/rank_jobs.py quantized FOLDER` trains around 4-bit weights on one rank and on two.
`python tests/rank_jobs.py distilled FOLDER` distills a tagger on one rank and on two.
`python tests/rank_jobs.py epochs FOLDER` counts the batches, sentences and validations of eight epochs.
"""

import csv
import json
import random
import shutil
import sys
from pathlib import Path

import forks
import tiny
import torch
import yaml

import ner_lightning.commands.main

LONG = ["--data.encoding.max_length=14", "--data.encoding.overlap=4"]
SETTINGS = {
    "length-grouped": ["--data.batches.eval_size=2"],
    "token budget": ["--data.batches.tokens=60"],
    "long sentences": [*LONG, "--data.batches.eval_size=3"],
    "long sentences, token budget": [*LONG, "--data.batches.tokens=45"],
    "one batch": ["--data.batches.eval_size=99"],  # so that ranks get single sentences
}
MODES = {
    "lora": [],
    "frozen": ["--model.peft=none"],
    "full": ["--model.peft=none", "--model.freeze_backbone=false"],
    "lora and full": ["--model.freeze_backbone=false"],
    "top layer": ["--model.architecture.unfreeze_top=1"],
    "checkpointing": ["--model.runtime.gradient_checkpointing=true"],
    "full, checkpointing": [
        "--model.peft=none",
        "--model.freeze_backbone=false",
        "--model.runtime.gradient_checkpointing=true",
    ],
    "no crf loss": ["--model.loss.crf=0"],
    "no ce loss": ["--model.loss.ce=0"],
    "smoothing": ["--model.loss.ls=0.1"],
    "softmax": ["--model.use_crf=false"],
    "partly annotated": ["--data.files.unannotated=unknown"],
    "accumulating": ["--trainer.accumulate_grad_batches=2"],
}


def prepare(folder: Path, valid: int = 7, test: int = 5) -> Path:
    """A model, a corpus of sizes that do not divide, and a recipe."""
    model = tiny.write_llama(folder / "llama")
    data = tiny.write_corpus(folder / "data")
    sentences = (data / "train.txt").read_text().strip().split("\n\n")
    for name, count in (("valid", valid), ("test", test)):
        own = [
            each.replace("Tollan B-ORG", "Tollan B-FIRM") for each in sentences[:count]
        ]  # unknown to training
        (data / f"{name}.txt").write_text("\n\n".join(own) + "\n")
    config = tiny.recipe(model, data, size=4)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config))
    return folder


def metrics(folder: Path, worlds: tuple[int, ...] = (1, 2, 3)) -> dict[str, object]:
    """Scores of validation and test under each setting, by number of ranks."""
    forks.run(folder, ["fit", "--config", "recipe.yaml", "--name", "m"], folder / "fit.log")
    run = folder / "runs/m/1"
    found: dict[str, object] = {}
    for setting, options in SETTINGS.items():
        for world in worlds:
            for command, split, stage in (("validate", "valid", "val"), ("test", "test", "test")):
                for file in run.glob("predictions.*"):
                    file.unlink()
                forks.run(folder, [command, "--run", str(run), *options], folder / "score.log", world)
                rows = (run / f"predictions.{split}.jsonl").read_text().splitlines()
                held = [json.loads(row) for row in rows]
                scores = json.loads((run / "metrics.json").read_text())
                found[f"{setting}, {split}, {world}"] = {
                    "counts": scores[f"{stage}/by_type"],
                    "loss": scores[f"{stage}/loss"],
                    "sentences": [row["sentence"] for row in held],
                    "predicted": [row["predicted"] for row in held],
                    "conll": (run / f"predictions.{split}.conll").read_text(),
                    "files": sorted(p.name for p in run.glob("predictions.*")),
                }
    return found


EXACT = ["--trainer.precision=64-true", "--model.architecture.dropout=0", "--trainer.max_epochs=3"]
EXACT += ["--trainer.limit_train_batches=7", "--trainer.max_steps=20", "--model.optimizer.averaging=0.3"]


def steps(folder: Path) -> dict[str, object]:
    """How far two ranks of half a batch are from one rank of a whole one after each of 20 steps.

    The weights that are compared are the averages over the steps.
    """
    tables, weights = [], []
    for world in (1, 2):
        words = ["fit", "--config", "recipe.yaml", "--name", f"w{world}", f"--data.batches.size={4 // world}"]
        forks.run(folder, [*words, *EXACT], folder / f"w{world}.log", world)
        run = folder / f"runs/w{world}/1"
        with (run / "metrics.csv").open() as file:
            tables.append([float(r["train/grad_norm"]) for r in csv.DictReader(file) if r["train/grad_norm"]])
        weights.append(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    one, two = weights
    return {
        "dtypes": sorted({str(tensor.dtype) for tensor in one.values()}),
        "steps": len(tables[0]),
        "norms": max(abs(a - b) / abs(a) for a, b in zip(*tables, strict=True)),
        "weights": _distance(one, two),
    }


def accumulation(folder: Path) -> dict[str, object]:
    """How far steps of several batches are from steps of one."""
    # The same sentences in one batch, in four that share a step, and in four on each of two ranks.
    whole, parts, ranks = (
        _accumulated(folder, f"a{number}", world, size, count, EXACT)
        for number, (world, size, count) in enumerate([(1, 32, 1), (1, 8, 4), (2, 4, 4)])
    )
    # 24 sentences, in three batches where four were meant.
    short, incomplete = (
        _accumulated(folder, f"b{size}", 1, size, 4, [*EXACT, "--data.limits.train=24"]) for size in (24, 8)
    )
    return {"accumulated": [_distance(whole, parts), _distance(whole, ranks), _distance(short, incomplete)]}


def _distance(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    return max(float((one[n] - two[n]).norm() / one[n].norm()) for n in one if float(one[n].norm()))


def _accumulated(folder: Path, name: str, world: int, size: int, count: int, options: list[str]):
    """The weights after four epochs of one optimizer step each."""
    words = ["fit", "--config", "recipe.yaml", "--name", name, f"--data.batches.size={size}", *options]
    words += ["--trainer.max_epochs=4", "--trainer.limit_train_batches=1.0"]
    words += [f"--trainer.accumulate_grad_batches={count}"]
    forks.run(folder, words, folder / f"{name}.log", world)
    return torch.load(folder / f"runs/{name}/1/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def modes(folder: Path) -> dict[str, object]:
    """What was trained in each mode on two ranks."""
    found = {}
    for number, (mode, options) in enumerate(MODES.items()):
        words = ["fit", "--config", "recipe.yaml", "--name", f"mode{number}", "--trainer.max_epochs=1"]
        forks.run(folder, [*words, *options], folder / f"mode{number}.log", 2)
        about = json.loads((folder / f"runs/mode{number}/1/run.json").read_text())
        found[mode] = {
            "trained": about["trained_parameters"],
            "log": (folder / f"mode{number}.log").read_text(),
        }
    return found


def quantized(folder: Path) -> dict[str, object]:
    """Two epochs around 4-bit weights on one rank and on two of half its batch, and what both predict."""
    tiny.write_llama(folder / "wide", hidden_size=64, intermediate_size=128)
    words = ["--model.quantization=nf4", f"--model.backbone={folder / 'wide'}", "--trainer.max_epochs=2"]
    words += ["--trainer.num_sanity_val_steps=0", "--model.architecture.dropout=0"]
    states, steps, predictions = [], [], []
    for world, size in ((1, 4), (2, 2)):
        name = f"q{world}"
        fit = ["fit", "--config", "recipe.yaml", "--name", name, f"--data.batches.size={size}", *words]
        forks.run(folder, fit, folder / f"{name}.log", world)
        run = folder / f"runs/{name}/1"
        last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        states.append(last["state_dict"])
        steps.append(last["global_step"])
        rows = (run / "predictions.valid.jsonl").read_text().splitlines()
        predictions.append([json.loads(row)["predicted"] for row in rows])
    return {"weights": _distance(*states), "steps": steps, "predictions": predictions}


def distilled(folder: Path) -> dict[str, object]:
    """A student on one rank, and on two of half its batch that also write what it learns from."""
    forks.run(folder, ["fit", "--config", "recipe.yaml", "--name", "teacher"], folder / "teacher.log")
    (folder / "text.txt").write_text("Vera Holt left Lima .\n\nNobody answered .\n", encoding="utf-8")
    exact = ["--trainer.precision=64-true", "--model.architecture.dropout=0", "--trainer.max_epochs=2"]
    states, logs = [], []
    for world, size in ((1, 4), (2, 2)):
        shutil.rmtree(folder / "runs/teachers", ignore_errors=True)
        words = ["distill", "runs/teacher/1", "--config", "recipe.yaml", "--name", f"s{world}"]
        words += ["--text", "text.txt", f"--data.batches.size={size}", *exact]
        forks.run(folder, words, folder / f"s{world}.log", world)
        last = torch.load(folder / f"runs/s{world}/1/checkpoints/last.ckpt", weights_only=True)
        states.append(last["state_dict"])
        logs.append((folder / f"s{world}.log").read_text())
    return {"weights": _distance(*states), "steps": last["global_step"], "logs": logs}


def epochs(folder: Path) -> dict[str, object]:
    """Each epoch's training batches by rank, as lists of sentences, and the epochs that were validated."""
    sentences = (folder / "data/train.txt").read_text().strip().split("\n\n")
    rng = random.Random(2)
    blocks = []
    for _ in range(40):
        blocks.append("-DOCSTART- O")
        blocks += [rng.choice(sentences) for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.2:  # longer than a window
            blocks.append("\n".join(rng.sample(sentences, 5)))
    for name, part in (("train", blocks), ("valid", blocks[:20])):
        (folder / f"data/{name}.txt").write_text("\n\n".join(part) + "\n")
    words = ["fit", "--config", "recipe.yaml", "--trainer.max_epochs=8", "--trainer.num_sanity_val_steps=0"]
    words += [
        "--data.batches.tokens=120",
        "--data.encoding.context=40",
        "--data.encoding.max_length=48",
        "--data.encoding.overlap=8",
    ]
    found: dict[str, object] = {}
    for world in (1, 2, 3):
        forks.run(
            folder,
            [*words, "--name", f"epochs{world}"],
            folder / f"epochs{world}.log",
            world,
            before=lambda rank, world=world: record(folder / f"{world}.{rank}.json"),
        )
        found[str(world)] = [json.loads((folder / f"{world}.{r}.json").read_text()) for r in range(world)]
    return found


def record(file: Path) -> None:
    """Makes the fits of this process write down what they train on, and when they validate."""
    from ner_lightning.data import sampling
    from ner_lightning.training.module import NERModule

    sampling.POOL = 4  # so that few sentences fill several pools
    batches: list[tuple[int, list[int]]] = []
    validated: list[int] = []
    train, end = NERModule.training_step, NERModule.on_train_end

    def training_step(self, batch):
        batches.append((self.current_epoch, batch.index.tolist()))
        return train(self, batch)

    def on_train_end(self):
        end(self)
        file.write_text(json.dumps({"batches": batches, "validated": validated}))

    NERModule.training_step, NERModule.on_train_end = training_step, on_train_end
    validate = NERModule.on_validation_epoch_end

    def on_validation_epoch_end(self):
        validated.append(self.current_epoch)
        validate(self)

    NERModule.on_validation_epoch_end = on_validation_epoch_end


def torchrun(folder: Path) -> dict[str, object]:
    """What commands do in two processes that torchrun started, though the recipe names one device."""
    devices = ["--trainer.devices", "1"]
    commands = {
        "fit": ["fit", "--config", "recipe.yaml", *devices, "--trainer.max_epochs", "1"],
        "test": ["test", *devices],
        "predict": ["predict", "--text", "Vera Holt"],
        "spawn": ["fit", "--config", "recipe.yaml", "--trainer.strategy", "ddp_spawn"],
    }
    found: dict[str, object] = {}
    for name, words in commands.items():
        log = folder / f"{name}.log"
        codes = forks.wait(forks.start(folder, words, log, _impatient, 2, torchrun=True))
        found[name] = {"codes": codes, "log": log.read_text()}
    run = folder / "runs/recipe/1"
    found["runs"] = sorted(str(p.relative_to(folder)) for p in (folder / "runs/recipe").iterdir())
    found["run.json"] = json.loads((run / "run.json").read_text())
    found["devices"] = yaml.safe_load((run / "config.yaml").read_text())["trainer"]["devices"]
    with (run / "metrics.csv").open() as file:
        found["steps"] = sum(bool(row["train/loss"]) for row in csv.DictReader(file))
    found["sentences"] = len((run / "predictions.test.jsonl").read_text().splitlines())
    return found


def _impatient(rank: int) -> None:
    ner_lightning.commands.main.GRACE = 0.5


if __name__ == "__main__":
    where = Path(sys.argv[2])
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    prepare(where)
    jobs = {"metrics": metrics, "steps": steps, "modes": modes, "epochs": epochs, "torchrun": torchrun}
    jobs |= {"quantized": quantized, "distilled": distilled, "accumulation": accumulation}
    print(json.dumps(jobs[sys.argv[1]](where)))
