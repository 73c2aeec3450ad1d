"""The headline recipe end to end through the Hub's own code, on one process and on two ranks."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from datasets import ClassLabel, Dataset, Features, List, Value
from hub_server import HubServer
from seqeval.metrics import f1_score
from shared import json_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "configs" / "llama_crf.yaml")
MODEL, DATA = "meta-llama/Llama-3.2-1B-Instruct", "eriktks/conll2003"
TAGS = ["O", *(f"{letter}-{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for letter in "BI")]
SIZES = {"train": 40, "validation": 17, "test": 11}
SHORT = ["--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"]


def parquet(pairs):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=TAGS))})
    buffer = io.BytesIO()
    columns = {"tokens": [w for w, _ in pairs], "ner_tags": [[TAGS.index(t) for t in ts] for _, ts in pairs]}
    Dataset.from_dict(columns, features=features).to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def hub(llama):
    with HubServer() as server:
        files = {path.name: path.read_bytes() for path in llama.iterdir()}
        server.commit = server.add_repo("models", MODEL, files)
        script = {"conll2003.py": b"raise SystemExit('a loading script was run')", "README.md": b"# CoNLL"}
        server.add_repo("datasets", DATA, script)
        pairs = tiny.sentences(tiny.TRAIN + tiny.TEST)
        copies = {
            f"conll2003/{split}/0000.parquet": parquet([pairs[i % len(pairs)] for i in range(size)])
            for split, size in SIZES.items()
        }
        server.add_repo("datasets", DATA, copies, revision="refs/convert/parquet")
        yield server


@pytest.fixture
def command(hub, tmp_path, tmp_path_factory):
    """Runs the command in a fresh folder and returns what it printed."""
    home = tmp_path_factory.getbasetemp() / "hub_home"

    def run(*words, launcher=("-m", "ner_lightning"), code=0):
        env = hub.env(home, CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", NETRC=str(tmp_path / "netrc"))
        env = {k: v for k, v in env.items() if not k.startswith(("WANDB_", "NER_LIGHTNING"))}
        done = subprocess.run(
            [sys.executable, *launcher, *words], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-5000:]
        return done.stdout + done.stderr

    return run


def check_split(run, split, stage, size):
    """Each sentence once, in data order, and the noted scores are those of the file."""
    held = json_rows(run / f"predictions.{split}.jsonl")
    assert [row["sentence"] for row in held] == list(range(size))
    metrics = json.loads((run / "metrics.json").read_text())
    gold, predicted = [r["gold"] for r in held], [r["predicted"] for r in held]
    assert metrics[f"{stage}/f1"] == pytest.approx(f1_score(gold, predicted, zero_division=0))
    return metrics


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_fit_test_and_predict(command, hub, tmp_path):
    printed = command("fit", "--config", RECIPE, *SHORT)
    assert "W&B has no key, so it logs offline" in printed
    run = tmp_path / "runs" / "llama_crf" / "1"
    about = json.loads((run / "run.json").read_text())
    assert about["backbone"] == {"name": MODEL, "weights": f"commit:{hub.commit}"}
    assert about["types"] == ["PER", "ORG", "LOC", "MISC"]
    assert about["data"]["train"]["sentences"] == SIZES["train"]
    assert "refs/convert/parquet" in about["data"]["train"]["origin"]
    assert list(run.glob("wandb/offline-run-*"))
    check_split(run, "valid", "val", SIZES["validation"])
    assert "test entities" in command("test")
    check_split(run, "test", "test", SIZES["test"])
    (tmp_path / "words.txt").write_text("Vera Holt left Lima .\n")
    command("predict", "--input", "words.txt", "--output", "tags.conll")
    assert len((tmp_path / "tags.conll").read_text().split("\n")) > 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_ranks(command, tmp_path, launcher):
    overlay = ["--config", str(ROOT / "configs" / "with" / "ddp.yaml")]
    options = [*SHORT, "--trainer.devices", "2", "--trainer.logger", "false"]
    if launcher == "lightning":
        command("fit", "--config", RECIPE, *overlay, *options)
    else:
        start = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "ner_lightning")
        command("fit", "--config", RECIPE, *overlay, *options, launcher=start)
    assert [p.name for p in (tmp_path / "runs" / "llama_crf").iterdir()] == ["1"]
    run = tmp_path / "runs" / "llama_crf" / "1"
    two = check_split(run, "valid", "val", SIZES["validation"])
    alone = ["--trainer.devices", "1", "--trainer.strategy", "auto"]
    command("validate", *alone)
    one = check_split(run, "valid", "val", SIZES["validation"])
    assert one["val/by_type"] == two["val/by_type"]
    assert (tmp_path / "runs" / "last").readlink() == Path("llama_crf/1")
