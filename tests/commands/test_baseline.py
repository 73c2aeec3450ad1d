"""`ner-lightning baseline`: its run folder, its continuation, and the comparison with a trained run."""

import errno
import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
import yaml
from seqeval.metrics import f1_score
from shared import json_rows
from transformers import LlamaForCausalLM

from ner_lightning.commands.main import main
from ner_lightning.prompting import prompted_run
from ner_lightning.prompting.generation import GeneratedAnswer, PromptedModel
from ner_lightning.prompting.prompted_run import Baseline, draw
from ner_lightning.prompting.saved_answers import read_saved
from ner_lightning.system.locks import only_writer

SAID = {"Vera": "PER: Vera Holt\nORG: Nowhere Ltd", "The": "I see.", "Nobody": "NONE"}


@pytest.fixture
def recipe_folder(tmp_path, corpus, monkeypatch):
    """A folder with a recipe whose backbone is a language model."""
    monkeypatch.chdir(tmp_path)
    LlamaForCausalLM(tiny.llama_config()).save_pretrained("model")
    tiny.llama3_tokenizer().save_pretrained("model")
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": "model", "lora": {"rank": 2}},
        "data": {"dataset": str(corpus), "batches": {"size": 8}},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return tmp_path


def answering(self, prompts, *, batch_size, limit, forms=None):
    """In place of the model: what it says to each sentence of the small corpus."""
    for number, ids in enumerate(prompts):
        asked = self.tokenizer.decode(ids).rpartition("Sentence: ")[2].split()[0]
        yield [GeneratedAnswer(number, SAID.get(asked, "NONE"), True)]


def test_a_split_is_tagged_scored_and_reported(recipe_folder, capsys, monkeypatch):
    monkeypatch.setattr(PromptedModel, "answers", answering)
    assert main(["baseline", "--config", "recipe.yaml", "--shots", "2"]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 answers could not be parsed; 1 lines are of another form, 1 entities are not in" in said
    assert "next, beside a trained run: ner-lightning compare RUN runs/recipe-2shot/1" in said
    run = recipe_folder / "runs/recipe-2shot/1"
    held = json_rows(run / "predictions.test.jsonl")
    assert [row["predicted"][:2] for row in held] == [["B-PER", "I-PER"], ["O", "O"], ["O", "O"]]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/f1"] == pytest.approx(
        f1_score([r["gold"] for r in held], [r["predicted"] for r in held])
    )
    about = json.loads((run / "run.json").read_text())
    assert about["trained_parameters"] == 0
    assert about["prompting"]["failed"] == 1
    assert not (recipe_folder / "runs/last").exists()
    assert main(["report", str(run)]) == 0
    page = (run / "report.md").read_text()
    assert "## Prompt" in page
    assert "What could not be read" in page
    assert "## Training" not in page


@pytest.mark.parametrize(("asked", "kept", "said"), [("2", 2, "2, drawn at random"), ("3", None, "all")])
def test_only_fewer_sentences_than_there_are_are_drawn(recipe_folder, monkeypatch, asked, kept, said):
    monkeypatch.setattr(PromptedModel, "answers", answering)
    assert main(["baseline", "--config", "recipe.yaml", "--sentences", asked]) == 0
    run = recipe_folder / "runs/recipe-0shot/1"
    assert json.loads((run / "run.json").read_text())["prompting"]["sentences"] == kept
    assert len(json_rows(run / "predictions.test.jsonl")) == int(asked)
    assert main(["report", str(run)]) == 0
    assert f"| sentences | {said} |" in (run / "report.md").read_text()


def test_prompts_must_fit_into_the_positions(recipe_folder, capsys):
    LlamaForCausalLM(tiny.llama_config(max_position_embeddings=64)).save_pretrained("short")
    tiny.llama3_tokenizer().save_pretrained("short")
    words = ["baseline", "--config", "recipe.yaml", "--model.backbone", "short", "--shots", "2"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "has positions for 64" in said
    assert "lower --shots (now 2)" in said


@pytest.mark.parametrize(
    "option",
    [
        "--checkpoint_every_n_steps=5",
        "--data.batches.size=4",
        "--data.encoding.max_length=32",
        "--seed_everything=9",
    ],
)
def test_options_of_a_training_are_refused(recipe_folder, capsys, option):
    assert main(["baseline", "--config", "recipe.yaml", option]) == 2
    assert f"{option.partition('=')[0]} has no effect in `baseline`" in capsys.readouterr().err


@pytest.mark.slow
def test_it_stands_in_one_table_with_a_trained_run(recipe_folder, capsys, monkeypatch):
    assert main(["fit", "--config", "recipe.yaml"]) == 0
    assert main(["test"]) == 0
    monkeypatch.setattr(PromptedModel, "answers", answering)
    assert main(["baseline", "--config", "recipe.yaml"]) == 0
    assert main(["baseline", "--config", "recipe.yaml", "--sentences", "2"]) == 0
    capsys.readouterr()
    runs = ["runs/recipe/1", "runs/recipe-0shot/1"]
    assert main(["compare", *runs]) == 0
    said = capsys.readouterr().out
    assert "A: recipe/1" in said
    assert "B: recipe-0shot/1" in said
    assert "not in the sentence" in said
    assert main(["compare", *runs, "runs/recipe-0shot/2"]) == 0
    assert "All scores are on the 2 sentences that every run has." in capsys.readouterr().out


def test_a_stopped_run_continues_where_it_was(recipe_folder, capsys, monkeypatch):
    asked = []

    def stopping(self, prompts, *, batch_size, limit, forms=None):
        for number, answers in enumerate(answering(self, prompts, batch_size=batch_size, limit=limit)):
            if number == 2 and not asked:
                asked.append(len(prompts))
                raise KeyboardInterrupt
            yield answers
        asked.append(len(prompts))

    def seconds():
        return json.loads((run / "run.json").read_text())["prompting"]["seconds"]

    monkeypatch.setattr(PromptedModel, "answers", stopping)
    clock = itertools.count(0, 10)
    monkeypatch.setattr(prompted_run, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    run = recipe_folder / "runs/recipe-1shot/1"
    assert main(["baseline", "--config", "recipe.yaml", "--shots", "1"]) == 130
    assert seconds() == 20  # two answers
    with (run / "answers.test.jsonl").open("a") as file:
        file.write('{"sentence": 2, "te')  # the power went
    assert main(["baseline", "--run", str(run)]) == 0
    assert asked == [3, 1]
    assert seconds() == 30
    assert [row["sentence"] for row in json_rows(run / "answers.test.jsonl")] == [0, 1, 2]
    assert len(json_rows(run / "predictions.test.jsonl")) == 3


def test_the_real_road_from_words_to_answers(recipe_folder, capsys):
    """A random model says nothing that can be read, and that is what is reported."""
    few = ["--max_new_tokens", "4", "--batch_size", "2", "--split", "valid", "--sentences", "1"]
    assert main(["baseline", "--config", "recipe.yaml", "--shots", "1", *few]) == 0
    (run,) = (recipe_folder / "runs/recipe-1shot").iterdir()
    kept = read_saved(run / "answers.valid.jsonl")
    assert sorted(kept) == draw(2, 1, 1)
    assert json.loads((run / "run.json").read_text())["prompting"]["answers"] == 1


def test_constrained_answers_are_read_as_they_are(recipe_folder, capsys):
    """A random model can say nothing else than what is in the sentence."""
    few = ["--constrained", "--max_new_tokens", "60", "--batch_size", "2"]
    assert main(["baseline", "--config", "recipe.yaml", "--shots", "1", *few]) == 0
    run = recipe_folder / "runs/recipe-1shot-constrained/1"
    about = json.loads((run / "run.json").read_text())["prompting"]
    assert about["constrained"] is True
    assert (about["unread_lines"], about["absent"]) == (0, 0)
    assert about["failed"] <= about["cut"]
    assert main(["report", str(run)]) == 0
    assert "constrained to types and words of the sentence" in (run / "report.md").read_text()
    answers = run / "answers.test.jsonl"
    first, *_ = whole = answers.read_text().splitlines()
    answers.write_text(first + "\n")
    assert main(["baseline", "--run", str(run)]) == 0  # continues with what it was asked
    assert sorted(answers.read_text().splitlines()) == sorted(whole)


@pytest.fixture
def begun(recipe_folder, corpus, monkeypatch):
    """A run with a recipe of its own files, of which one answer is missing."""
    monkeypatch.setattr(PromptedModel, "answers", answering)
    shutil.copytree(corpus, "data")
    assert main(["baseline", "--config", "recipe.yaml", "--data.dataset", "data", "--shots", "2"]) == 0
    run = recipe_folder / "runs/recipe-2shot/1"
    answers = run / "answers.test.jsonl"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:-1]), encoding="utf-8")
    return run


@pytest.mark.parametrize("line", ["\0\0\0", '{"sentence": 1, "te', '{"sentence": 1}', "[1]"])
def test_a_damaged_answer_is_named_and_asked_for_again(begun, capsys, line):
    answers = begun / "answers.test.jsonl"
    first, _ = answers.read_text(encoding="utf-8").splitlines()
    answers.write_text(f"{first}\n{line}\n", encoding="utf-8")
    assert main(["baseline", "--run", str(begun)]) == 2
    assert "answers.test.jsonl:2: the line is damaged; remove it, and" in capsys.readouterr().err
    answers.write_text(f"{first}\n", encoding="utf-8")
    assert main(["baseline", "--run", str(begun)]) == 0
    assert len(json_rows(answers)) == 3


def reversed_sentences(file):
    sentences = Path(file).read_text(encoding="utf-8").strip().split("\n\n")
    Path(file).write_text("\n\n".join(reversed(sentences)) + "\n", encoding="utf-8")


def other_weights(folder):
    torch.manual_seed(7)
    LlamaForCausalLM(tiny.llama_config()).save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda: reversed_sentences("data/test.txt"), [], "the test split (data/test.txt) is not the one"),
        (lambda: reversed_sentences("data/train.txt"), [], "the train split (data/train.txt) is not the one"),
        (lambda: other_weights("model"), [], "the weights of model.backbone (model) are not those"),
        (
            lambda: shutil.copytree("model", "other"),
            ["--model.backbone", "other"],
            "model.backbone is other, but",
        ),
        (
            lambda: shutil.copytree("data", "copy"),
            ["--data.dataset", "copy"],
            "data.dataset is copy, but",
        ),
        (lambda: None, ["--data.types", "[PER]"], "data.types is ['PER'], but"),
        (lambda: None, ["--trainer.precision", "bf16-mixed"], "trainer.precision is bf16-mixed, but"),
    ],
)
def test_answers_of_other_prompts_or_models_are_not_mixed(begun, capsys, monkeypatch, change, words, message):
    change()
    before = {file: file.read_bytes() for file in begun.iterdir()}
    monkeypatch.setattr(PromptedModel, "load", None)  # nothing is loaded
    capsys.readouterr()
    assert main(["baseline", "--run", str(begun), *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") <= 3
    assert {file: file.read_bytes() for file in begun.iterdir()} == before


def test_a_run_that_another_command_prompts_is_left_to_it(begun, capsys):
    with only_writer(begun):
        assert main(["baseline", "--run", str(begun)]) == 2
    assert "another command is writing" in capsys.readouterr().err


def test_a_run_resumes_beside_words_that_change_nothing(begun):
    same = ["--config", "recipe.yaml", "--data.dataset", "data"]
    assert main(["baseline", "--run", str(begun), *same]) == 0
    assert len(json_rows(begun / "answers.test.jsonl")) == 3


def test_a_resumed_run_takes_no_settings_not_even_the_defaults(begun, capsys):
    for option in (["--shots", "0"], ["--split", "test"], ["--max_new_tokens", "96"], ["--constrained"]):
        assert main(["baseline", "--run", str(begun), *option]) == 2, option
        assert f"--run resumes with the run's own {option[0]}; leave it out" in capsys.readouterr().err


def test_mistakes_are_explained(recipe_folder, capsys):
    for words, said in (
        ([], "name a recipe"),
        (["--config", "recipe.yaml", "--shots", "99"], "--shots is 99"),
        (
            ["--config", "recipe.yaml", "--shots", "-1"],
            "--shots is -1; it must be a whole number of at least 0",
        ),
        (["--config", "recipe.yaml", "--model.lrr", "1"], "did you mean model.optimizer.lr?"),
        (["--run", "nowhere"], "is not a run of `ner-lightning baseline`"),
        (["--run", "nowhere", "--runs", "other"], "--runs has no effect here: the run is nowhere"),
        (["--config", "recipe.yaml", "--prompt_seed", "5"], "--prompt_seed has no effect here: it is for"),
        (
            ["--config", "recipe.yaml", "--data.valid", "x"],
            "--data.valid has no effect here: --split is",
        ),
        (["--config", "recipe.yaml", '--data={"limits":{"valid":1}}'], "--data.limits.valid has no effect"),
        (["--config", "recipe.yaml", "--split", "valid", "--data.test", "x"], "--split is valid; leave it"),
        (["--config", "recipe.yaml", "--data.limits.train", "3"], "has no effect here: --shots is 0; leave"),
    ):
        assert main(["baseline", *words]) == 2, words
        assert said in capsys.readouterr().err


def test_a_resumed_run_has_its_name(begun, capsys):
    assert main(["baseline", "--run", str(begun), "--name", "other"]) == 2
    assert "--name has no effect here: the run is " in capsys.readouterr().err


def test_draws_are_fixed():
    assert draw(10, None, 1) == draw(10, 10, 1) == list(range(10))
    assert draw(100, 5, 1) == draw(100, 5, 1) != draw(100, 5, 2)
    assert draw(100, 5, 1) == sorted(set(draw(100, 5, 1)))
    assert Baseline.__doc__


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory on the GPU.\nLower --batch_size, or"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left for"),
    ],
)
def test_where_memory_or_the_disk_runs_out_is_said_how_to_resume(
    recipe_folder, capsys, monkeypatch, error, said
):
    def failing(self, prompts, **options):
        raise error
        yield

    monkeypatch.setattr(PromptedModel, "answers", failing)
    assert main(["baseline", "--config", "recipe.yaml"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "esume with: ner-lightning baseline --run runs/recipe-0shot/1" in err
