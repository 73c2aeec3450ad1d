"""The report and the comparison, made from a run folder as small as can be, and looked at in a browser."""

import contextlib
import copy
import functools
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from browser import chromium

from ner_lightning.analysis.rows import read_predictions
from ner_lightning.commands.data_actions.data_audit import parser as audit_parser
from ner_lightning.commands.main import main
from ner_lightning.runs.results import read_rows

HOSTILE = [
    "<script>document.title='owned'</script>",
    "\u202eevil\u202c",
    "x" * 5000,
    "</article><img src=x onerror=alert(1)>",
    "a|b`c`*d*",
    "\x1b[31m",
    "שלום",
]
ROOT = Path(__file__).parents[2]

ARCHITECTURE = {
    "layers": None,
    "causal_below": 0,
    "unfreeze_top": 0,
    "pooling": "last",
    "dropout": 0.1,
    "constrained": True,
}
DATA = {"batches": {"size": 8, "tokens": None}, "encoding": {"context": None, "repeats": 0}}


def line(number, words, gold, predicted, chance=0.9):
    entities, start = [], None
    for place, tag in enumerate([*predicted, "O"]):
        if start is not None and not tag.startswith("I-"):
            kind = predicted[start][2:]
            entities.append({"type": kind, "start": start, "end": place, "marginal": chance})
            start = None
        if tag.startswith("B-"):
            start = place
    row = {"sentence": number, "document": number // 4, "words": words, "gold": gold, "predicted": predicted}
    return json.dumps(row | {"entities": entities}, ensure_ascii=False)


def make_run(folder, seed=1, wrong=2, config=None):
    """A run's folder with everything that a report reads."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(24):
        words = ["Vera", "Holt", "left", "Lima", "."]
        gold = ["B-PER", "I-PER", "O", "B-LOC", "O"]
        predicted = list(gold)
        if number % 8 < wrong:
            predicted = [["B-PER", "O", "O", "B-LOC", "O"], ["O", "O", "O", "B-PER", "O"]][number % 2]
        lines.append(line(number, words, gold, predicted, 0.5 + number / 50))
    lines.append(line(24, HOSTILE, ["O"] * len(HOSTILE), ["B-PER", "O", "B-LOC", "O", "O", "O", "B-PER"]))
    for split in ("valid", "test"):
        (folder / f"predictions.{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sizes = {"sentences": 25, "words": 127, "entities": {"PER": 24, "LOC": 24}}
    split = {"origin": "/home/someone/train.txt", "fingerprint": "sha256:" + "ab" * 32} | sizes
    about = {
        "command": ["ner-lightning", "fit", "--config", "configs/tiny.yaml"],
        "seed": seed,
        "types": ["PER", "LOC"],
        "started": "2026-01-02T03:04:05+00:00",
        "backbone": {"name": "some/model", "weights": "commit:123"},
        "parameters": 1000,
        "trained_parameters": 10,
        "data": {"train": split, "valid": split, "test": split},
        "epochs": 2,
        "steps": 20,
        "machine": "here",
        "versions": {"torch": "2"},
    }
    (folder / "run.json").write_text(json.dumps(about))
    settings = {
        "seed_everything": seed,
        "trainer": {"precision": "bf16-mixed", "gradient_clip_val": 1.0},
        "model": {
            "attention": "bidirectional",
            "architecture": ARCHITECTURE,
            "peft": "lora",
            "lora": {
                "rank": 4,
                "alpha": 8,
                "dropout": 0,
                "targets": "all-linear",
                "rslora": False,
                "dora": False,
            },
            "freeze_backbone": True,
            "use_crf": True,
            "loss": {"ce": 1.0, "crf": 0.5, "ls": 0.0},
            "optimizer": {
                "lr": 0.001,
                "head_lr": None,
                "crf_lr": None,
                "weight_decay": 0.01,
                "schedule": "constant",
                "warmup": 0.1,
                "averaging": 0.2,
            },
        },
        "data": DATA | {"seed": seed},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | (config or {})))
    (folder / "train_entities.json").write_text(json.dumps({"PER": {"Vera Holt": 3}, "LOC": {"Lima": 2}}))
    (folder / "metrics.csv").write_text(
        "step,epoch,train/ce,train/loss,train/words_per_second,val/f1,val/loss,val/precision,val/recall\n"
        "5,0,2.0,2.5,,,,,\n10,0,1.0,1.5,900,0.5,0.9,0.5,0.5\n20,1,0.5,0.75,1100,0.75,0.6,0.75,0.75\n"
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "tiny" / "1")
    assert main(["report", str(folder)]) == 0
    return folder


def test_every_section_is_filled_from_the_run(run):
    text = (run / "report.md").read_text(encoding="utf-8")
    for said in (
        "# Report of tiny/1",
        "## Verdict", "### What costs most on valid", "### What to try next", "## Scores", "## Training",
        "## Mistakes on valid", "## Reasons", "## Limitations", "## Data", "## Model",
        "## Architecture and objective", "## Training set-up",
        "## Training against ordinary language modelling",
        "10 (1.00%)",  # trained parameters
        "1 · CE + 0.5 · NLL of the CRF",
        "train.txt",
        "constant, warm-up over 10% of the steps",
        "a running average, mean age 20% of the steps",
        "1,000 words/s",
        "2 (best)",
        "is shown with measured rows: --ladder",
    ):  # fmt: skip
        assert said in text, said
    assert "/home/someone" not in text
    assert not re.search(r"\b(nan|None|TODO|inf)\b", text)


def advice(folder, tmp_path):
    assert main(["report", str(folder), "--output", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    return text, text.partition("### What to try next")[2].partition("\n## ")[0]


TODO = (
    "Let each word see its right context",
    "the CRF instead of a softmax",
    "Train adapters in every layer",
)
AROUND = "Show the model the surrounding sentences"


@pytest.mark.slow
def test_what_a_run_has_done_is_not_advised(run, tmp_path):
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    _, said = advice(run, tmp_path)
    assert not any(text in said for text in TODO)
    assert AROUND in said
    less = settings["model"] | {"attention": "causal", "use_crf": False, "peft": "none"}
    _, said = advice(make_run(tmp_path / "less" / "1", config={"model": less}), tmp_path)
    assert all(text in said for text in TODO)
    top = settings["model"] | {
        "lora": settings["model"]["lora"] | {"top": 2},
        "architecture": ARCHITECTURE | {"causal_below": 3, "layers": 5},
    }
    data = DATA | {"encoding": {"context": 512, "repeats": 0}}
    text, said = advice(make_run(tmp_path / "top" / "1", config={"model": top, "data": data}), tmp_path)
    assert [text in said for text in TODO] == [True, False, True]
    assert AROUND not in said
    for fact in (
        "bidirectional, causal in the lowest 3 layers",
        "the lowest 5",
        "in the last 2 layers",
        "together with its neighbours in the document up to 512 sub-tokens",
        "the whole passage",
    ):
        assert fact in text
    again = {
        "model": less,
        "data": DATA | {"encoding": {"context": None, "repeats": 1}},
    }
    text, said = advice(make_run(tmp_path / "again" / "1", config=again), tmp_path)
    assert TODO[0] not in said
    assert "the text is given 2 times" in text


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The resolved configuration of a run of the quickstart."""
    file = tmp_path_factory.mktemp("quickstart") / "config.yaml"
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main(["fit", "--config", "configs/quickstart.yaml", "--print_config"])
    file.write_text(out.getvalue(), encoding="utf-8")
    return yaml.safe_load(out.getvalue())


def changed(config, **changes):
    config = copy.deepcopy(config)
    for name, value in changes.items():
        *path, last = name.split("__")
        functools.reduce(dict.__getitem__, path, config)[last] = value
    return config


CHANGES = [  # what a run does not do, and what its commands then say
    (
        {},
        [
            "--config configs/with/document.yaml",
            "--data.limits.train 12",
            "--model.backbone",
            "--seed_everything 8",
        ],
    ),
    (
        {
            "model__attention": "causal",
            "data__batches__tokens": 512,
            "model__use_crf": False,
            "model__loss__crf": 0.0,
        },
        [
            "--model.attention bidirectional",
            "--data.encoding.context 256",
            "--model.use_crf true --model.loss.crf 1.0",
        ],
    ),
    (
        {"model__architecture__causal_below": 3, "model__peft": "none", "model__cache__enabled": True},
        ["--model.architecture.causal_below 0", "--model.peft lora --model.cache.enabled false"],
    ),
    (
        {"model__lora__top": 2, "data__limits__train": 12, "trainer__max_epochs": 2},
        ["--model.lora.top null", "--data.limits.train null", "--trainer.max_epochs 4"],
    ),
]


@pytest.mark.parametrize(
    ("changes", "said"), [CHANGES[0], *(pytest.param(*each, marks=pytest.mark.slow) for each in CHANGES[1:])]
)
def test_the_commands_fit_the_run_and_are_understood(
    tmp_path, monkeypatch, capsys, quickstart, changes, said
):
    folder = make_run(tmp_path / "my runs" / "1", seed=7)
    (folder / "config.yaml").write_text(yaml.safe_dump(changed(quickstart, **changes)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text, _ = advice(folder, tmp_path)
    commands = re.findall(
        r"^```\n(ner-lightning (?:fit|data audit) --config.*'my runs.*)\n```$", text, flags=re.M
    )
    assert not [each for each in said if not any(each in command for command in commands)], commands
    before = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    capsys.readouterr()
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "ner-lightning"
        if words[:2] == ["data", "audit"]:
            assert audit_parser("audit").parse_known_args(words[2:])[1] == [
                "--config",
                "my runs/1/config.yaml",
            ]
        elif any(
            each in command for each in said
        ):  # parsing takes a second, and many are the same every time
            with pytest.raises(SystemExit) as stop:
                main([*words, "--print_config"])
            assert stop.value.code == 0
            assert yaml.safe_load(capsys.readouterr().out) != before  # it changes something


def test_a_prompted_baseline_is_to_be_trained(run, tmp_path):
    folder = tmp_path / "prompted" / "1"
    shutil.copytree(run, folder)
    about = json.loads((folder / "run.json").read_text())
    prompting = {
        "instruction": "Find.",
        "chat_template": True,
        "shots": 0,
        "sentences": None,
        "prompt_seed": 1,
        "max_new_tokens": 9,
    }
    (folder / "run.json").write_text(json.dumps(about | {"prompting": prompting}))
    (folder / "config.yaml").rename(folder / "recipe.yaml")  # as `baseline` writes it
    _, said = advice(folder, tmp_path)
    assert "Train the backbone instead of prompting it" in said
    assert said.count("ner-lightning fit") == 1
    assert "prompted/1/recipe.yaml" in said


def test_nothing_is_advised_where_nothing_is_known(tmp_path):
    file = tmp_path / "tagged.conll"
    file.write_text("Vera B-PER B-LOC\nleft O O\n" * 3, encoding="utf-8")
    text, said = advice(file, tmp_path)
    assert not any(one in said for one in (*TODO, AROUND))
    assert "does not say how the tagger was trained" in said
    assert "There are no test predictions" not in text
    assert "Scores are of 1 sentence (predictions)" in text


def test_no_claim_is_made_of_what_a_run_does_not_say(run):
    text = (run / "report.md").read_text(encoding="utf-8")
    assert "people" not in text
    assert (
        "Scores are of 25 sentences (valid) and 25 sentences (test); nothing was measured on other text"
        in text
    )
    assert "The checkpoint was chosen by F1 on valid" in text


def test_one_epoch_chose_nothing(tmp_path):
    folder = make_run(tmp_path / "short" / "1")
    lines = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("\n".join(lines[:3]) + "\n")
    text, _ = advice(folder, tmp_path)
    assert "The checkpoint was chosen" not in text


@pytest.mark.slow
def test_curves_tell_what_they_show(tmp_path):
    folder = make_run(tmp_path / "over" / "1")
    text, _ = advice(folder, tmp_path)
    assert "**F1 is best at the last validation, epoch 2: 0.75; it may still rise**" in text
    assert "**The loss on validation falls from 0.9 to 0.6**" in text
    rows = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(f"{rows}30,2,0.1,0.2,900,0.7,0.9,0.7,0.7\n")
    text, _ = advice(folder, tmp_path)
    assert "**F1 is best at epoch 2 of 3: 0.75**" in text
    assert "**The loss on validation is lowest at epoch 2, 0.6, and 0.9 at the end**" in text
    (folder / "metrics.csv").write_text("step,epoch,val/f1,val/loss\n0,0,0.5,0.9\n")  # a soup's
    text, _ = advice(folder, tmp_path)
    assert "**F1 is best" not in text.partition("## Training")[2].partition("\n## ")[0]


def test_flairs_predictions_with_their_scores_are_read(tmp_path):
    file = tmp_path / "test.tsv"
    file.write_text("Vera B-PER B-PER 0.998\nleft O O 1.0\n\nLima B-LOC O 0.5\n", encoding="utf-8")
    text, _ = advice(file, tmp_path)
    assert "| missed | 1 | 0 | 1 |" in text


def test_without_text_no_surface_string_is_left(run, tmp_path):
    assert main(["report", str(run), "--output", str(tmp_path), "--no-text"]) == 0
    for file in ("report.md", "report.html"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert "Vera" in (run / file).read_text(encoding="utf-8")
        for word in ("Vera", "Holt", "Lima", "evil", "owned", "xxxx", "שלום"):
            assert word not in text, (file, word)


def test_the_verdict_comes_first_with_an_example_of_each_problem(run):
    text = (run / "report.md").read_text(encoding="utf-8")
    start = text.partition("## Scores")[0]
    assert re.search(r"F1 is 0\.\d\d \(0\.\d\d to 0\.\d\d\) on the 25 sentences of test", start)
    assert [
        n for n in "123" if re.search(rf"^#### {n}\\?\. .*, which cost 0\.\d{{3}} F1$", start, flags=re.M)
    ] == ["1", "2", "3"]
    assert start.count("- valid, sentence ") == 3
    assert "\\[Vera Holt PER\\] left Lima ." in start


def test_scores_have_no_more_decimals_than_their_intervals_justify(run):
    text = (run / "report.md").read_text(encoding="utf-8")
    scores = text.partition("## Scores")[2].partition("\n## ")[0]
    assert re.search(r"\d\.\d\d to \d\.\d\d", scores)
    assert not re.search(r"\d\.\d{4}", scores)


def test_a_ladder_is_cited(tmp_path):
    run = make_run(tmp_path / "causal" / "1")
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    settings["model"]["attention"] = "causal"
    (run / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    ladder = str(ROOT / "docs" / "results.json")
    assert main(["report", str(run), "--output", str(tmp_path), "--ladder", ladder]) == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = {(r["config"], r["split"]): r["value"] for r in read_rows(Path(ladder))
            if (r["metric"], r["seed"], r["overrides"]) == ("f1", 1, ["--trainer.max_epochs 2"])}  # fmt: skip
    gain = rows["smollm2_conll2003", "test"] - rows["smollm2_conll2003 causal", "test"]
    assert f"{gain:+.4f}" in text


def test_bare_columns_get_a_report_that_names_what_is_missing(tmp_path, capsys):
    file = tmp_path / "tagged.conll"
    file.write_text("Vera B-PER B-PER\nleft O O\n\nLima B-LOC O\n", encoding="utf-8")
    assert main(["report", str(file)]) == 2
    assert "--output" in capsys.readouterr().err
    assert main(["report", str(file), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("the file has no probabilities") == 2
    assert "train\\_entities.json" in text
    assert "| missed | 1 | 0 | 1 |" in text


def test_runs_are_compared(run, tmp_path, capsys):
    root = tmp_path / "runs"
    make_run(root / "tiny" / "1")
    make_run(root / "tiny" / "2", seed=2, wrong=1)
    make_run(root / "other" / "1", wrong=0, config={"model": {"attention": "causal"}})
    names = [str(root / name) for name in ("tiny/1", "tiny/2", "other/1")]
    capsys.readouterr()
    assert main(["compare", *names]) == 0
    said = capsys.readouterr().out
    assert "Comparison on valid" in said
    assert re.search(r"^tiny/1 +2 +0\.\d\d +0\.\d{3}$", said, flags=re.M)  # one recipe, two seeds
    assert re.search(r"^other/1 +1 +0\.\d\d +one run: none$", said, flags=re.M)
    assert re.search(r"^model.attention +bidirectional +bidirectional +causal$", said, flags=re.M)
    assert "C (other/1) is not better than A (tiny/1) beyond chance: F1 0." in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    assert main(["report", *names, "--output", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# tiny/1 against tiny/2 and other/1\n")
    assert "Comparison on valid" in page
    (root / "last").symlink_to("tiny/1")
    for command in ("compare", "report"):
        assert main([command, *names, str(root / "last"), *(["--output", "."] * (command == "report"))]) == 2
        assert "tiny/1 is named twice" in capsys.readouterr().err
    file = root / "other" / "1" / "predictions.valid.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("Lima", "Rome"), encoding="utf-8")
    assert main(["compare", *names]) == 2
    assert "other sentences" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "nowhere"], "no run folder or prediction file nowhere"),
        (["report"], "no last run"),
        (["compare", "nowhere"], "two runs or more"),
        (["report", "here", "--ladder", "nowhere.json"], "--ladder nowhere.json"),
        (
            ["report", "here", "--ladder", "rows.json"],
            "--ladder rows.json: not a list of measured rows: row 1",
        ),
        (["report", "empty"], "has no predictions.valid.jsonl"),
        (["report", "broken.jsonl", "--output", "."], "broken.jsonl:1: not a sentence"),
        (["report", "here", "--output", "out.pdf"], "--output out.pdf is a folder"),
        (["export", "here", "--output", "model.onnx"], "--output model.onnx is a folder"),
        (["ladder", "here", "--results", "rows.csv"], "--results rows.csv is written as JSON"),
    ],
)
def test_mistakes_of_users_are_named(tmp_path, monkeypatch, capsys, run, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jsonl").write_text('{"words": ["a"], "gold": ["O"], "predicted": []}\n')
    (tmp_path / "rows.json").write_text('[{"rows": [{"value": 1}]}]')
    shutil.copytree(run, tmp_path / "here")
    assert main(words) == 2
    assert said in capsys.readouterr().err


GOOD_LINE = {"words": ["a"], "gold": ["O"], "predicted": ["O"]}


@pytest.mark.parametrize(
    "content",
    [
        [1],
        "abc",
        GOOD_LINE | {"gold": [None]},
        GOOD_LINE | {"words": [1]},
        GOOD_LINE | {"words": "a"},
        GOOD_LINE | {"predicted": "O"},
        GOOD_LINE | {"entities": {"type": "PER"}},
        GOOD_LINE | {"entities": [["PER", 0, 1]]},
        GOOD_LINE | {"entities": [{"type": "PER", "start": "0", "end": 1}]},
        GOOD_LINE | {"candidates": [["PER", 0]]},
        GOOD_LINE | {"candidates": {"PER": 1}},
        GOOD_LINE | {"document": [1]},
    ],
)
def test_lines_of_another_shape_are_named(tmp_path, capsys, content):
    file = tmp_path / "tagged.jsonl"
    file.write_text(f"{json.dumps(GOOD_LINE)}\n{json.dumps(content)}\n", encoding="utf-8")
    assert main(["report", str(file), "--output", str(tmp_path)]) == 2
    assert f"{file}:2: not a sentence with its predictions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", "{"), ("run.json", "[1]"), ("config.yaml", "a: ["), ("config.yaml", "- a")],
)
def test_broken_files_of_a_run_are_named(tmp_path, capsys, run, name, content):
    folder = tmp_path / "broken" / "1"
    shutil.copytree(run, folder)
    (folder / name).write_text(content)
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"{folder / name}: not" in error
    assert len(error.splitlines()) <= 3


def test_words_of_the_data_do_not_name_the_probability(tmp_path):
    row = {"words": ["marginal", '"marginal"'], "gold": ["B-PER", "O"], "predicted": ["B-PER", "O"]}
    row["entities"] = [{"type": "PER", "start": 0, "end": 1, "softmax_product": 0.75}]
    file = tmp_path / "tagged.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    found = read_predictions(file)
    assert found.probability_name == "softmax_product"
    assert list(found.rows[0].probabilities.values()) == [0.75]


@pytest.mark.slow
def test_the_page_in_a_browser(run):
    with chromium() as page:
        page.open(run / "report.html")
        assert page.complaints() == []
        assert page.run("document.title") == "Report of tiny/1"  # no script of the data has run
        assert page.run("document.querySelectorAll('script').length") == 1
        assert page.run("[...document.images].every(i => i.complete && i.naturalWidth && i.alt)")
        cases = page.run("document.querySelectorAll('article').length")
        assert cases == 7

        def shown():
            return page.run("[...document.querySelectorAll('article')].filter(a => !a.hidden).length")

        def choose(name, value):
            script = f"{{const s = document.getElementById('{name}'); s.value = '{value}';"
            page.run(script + "s.dispatchEvent(new Event('change'))}")
            assert page.run("document.getElementById('count').textContent") == f"{shown()} shown"
            return shown()

        assert shown() == cases
        assert page.run("document.getElementById('more').hidden")
        assert choose("kind", "too short") == 3
        assert choose("type", "LOC") == 0
        assert choose("kind", "") == 4
        assert choose("type", "") == cases
        # What hostile words look like: text, with marks spelled out and a bearable length.
        text = page.run("document.getElementById('cases').innerText")
        assert "<script>document.title='owned'</script>" in text
        assert "\\x202e" in text
        assert "\u202e" not in text
        assert "5,000 characters" in text
        # The keyboard reaches the filters.
        page.run("document.getElementById('cases').scrollIntoView(); document.activeElement.blur()")
        reached = set()
        for _ in range(60):
            page.press("Tab")
            reached.add(page.run("document.activeElement.id || document.activeElement.tagName"))
        assert {"kind", "type", "A", "SUMMARY"} <= reached
        # On a phone nothing makes the page scroll sideways, and every plot is whole.
        page.run("document.querySelectorAll('details').forEach(fold => {fold.open = true})")
        for width in (320, 390, 768):
            page.resize(width, 800, phone=True)
            assert page.run("document.documentElement.scrollWidth") <= width
            boxes = "[...document.images].map(image => image.getBoundingClientRect())"
            edges = page.run(f"{boxes}.map(box => [box.left, box.right])")
            assert len(edges) >= 6
            assert all(0 <= left < right <= width for left, right in edges)
        # A dark page has light text.
        styles = "[document.documentElement, document.body].map(element => getComputedStyle(element))"
        colours = f"{styles}.map((style, index) => index ? style.color : style.backgroundColor)"
        light = page.run(colours)
        page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert page.run(colours) == ["rgb(20, 27, 39)", "rgb(228, 234, 243)"] != light
        assert page.complaints() == []


@pytest.mark.slow
def test_many_sentences_are_shown_on_request(tmp_path):
    folder = make_run(tmp_path / "many" / "1")
    lines = [line(n, ["Vera", "left"], ["B-PER", "O"], ["O", "O"]) for n in range(45)]
    (folder / "predictions.valid.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["report", str(folder)]) == 0
    with chromium() as page:
        page.open(folder / "report.html")
        shown = "[...document.querySelectorAll('article')].filter(a => !a.hidden).length"
        said = "document.getElementById('count').textContent"
        assert (page.run(shown), page.run(said)) == (20, "20 of 45 shown")
        page.run("document.getElementById('more').click()")
        assert (page.run(shown), page.run(said)) == (45, "45 shown")


@pytest.mark.slow
def test_the_browser_tells_of_scripts_and_requests(tmp_path):
    """What the test above relies on: a page that does misbehave is noticed."""
    file = tmp_path / "report.html"
    file.write_text(
        "<script>console.error('x'); fetch('http://127.0.0.1:9/').catch(() => 0); null.x</script>"
    )
    with chromium() as page:
        page.open(file)
        page.run("new Promise(done => setTimeout(done, 300))")
        said = json.dumps(page.complaints())
    assert "127.0.0.1:9" in said
    assert "console-api" in said or '"error"' in said
    assert "TypeError" in said


def test_the_runs_below_a_folder_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1", "a/2", "b/1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}", encoding="utf-8")
    for command in (["report"], ["validate"]):
        assert main([*command, "runs"]) == 2
        said = capsys.readouterr().err
        assert "holds runs; name one of them, such as runs/a/1, runs/a/2, runs/b/1" in said
