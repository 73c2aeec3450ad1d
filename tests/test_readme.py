import re
import shlex
from pathlib import Path

import pytest
import yaml

from ner_lightning.commands.main import COMMANDS, command_module, main
from ner_lightning.runs.results import read_rows

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("commands", "predict", "export", "serve")),
]
BLOCKS = [
    b for p in PAGES for b in re.findall(r"```bash\n(.*?)```", p.read_text(encoding="utf-8"), flags=re.S)
]
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMAND = re.compile(r"^(?:\.venv/bin/)?ner-lightning |^torchrun .* -m ner_lightning ")
COMMAND_LINES = [COMMAND.sub("", line) for line in LINES if COMMAND.match(line)]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))


def test_the_readme_shows_commands():
    assert len(COMMAND_LINES) > 8
    assert {line.split()[0] for line in COMMAND_LINES} <= set(COMMANDS)
    made = set(re.findall(r"make ([a-z-]+)", README)) - {"setup.py"}
    assert made
    assert made <= TARGETS


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_of_the_readme_parse(line, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, *words = shlex.split(line)
    if command == "data":  # its actions have options of their own
        _, rest = command_module(command).parser(f"data {words[0]}").parse_known_args(words[1:])
        assert words[0] == "audit" or not rest  # which takes the options of fit as well
        return
    if COMMANDS[command][0] != "fit":
        _, rest = command_module(command).parser(command).parse_known_args(words)
        if command not in {
            "baseline",
            "distill",
            "memory",
            "pretrain",
        }:  # which take the options of fit as well
            assert rest == []
        return
    # What is continued, validated or tested takes its config from a run; here from a recipe.
    options = [w for w in words if not re.match(r"last$|--ckpt_path|--run$|runs/", w)]
    if "--config" not in options:
        options = ["--config", "configs/llama_crf.yaml", *options]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *options, "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["backbone"]


MAP = (ROOT / "ner_lightning" / "README.md").read_text(encoding="utf-8")
QUESTIONS = [
    ("Where is a batch padded?", "batch, pad", "data/batching.py", "def collate("),
    (
        "Where is a checkpoint written?",
        "checkpoint, written",
        "training/callbacks/checkpoints.py",
        "def write_checkpoint(",
    ),
    (
        "Where is a word aligned with its sub-tokens?",
        "align, sub-token",
        "data/tokenization/alignment.py",
        "def word_starts(",
    ),
    ("Where is F1 counted?", "f1, count", "metrics/from_counts.py", "def f1("),
    ("Where is the learning-rate schedule?", "learning-rate, schedule", "training/optim.py", "def schedule("),
    ("Where is a CoNLL file read?", "columns; every error", "data/readers/columns.py", "def read_columns("),
    (
        "Where does attention become bidirectional?",
        "attention, bidirectional",
        "model/weights.py",
        "config.is_causal =",
    ),
    ("Where is the best path decoded?", "best path, decode", "model/crf/viterbi.py", "def viterbi("),
    (
        "Where are predictions written as JSONL?",
        "predictions, write, jsonl",
        "training/callbacks/run_files.py",
        "write_jsonl(",
    ),
    (
        "Where is the terminal's epoch table?",
        "terminal, epoch, table",
        "training/callbacks/epoch_table.py",
        "class EpochTable(",
    ),
]


def package_map():
    """The files of the package's tree, each with its line."""
    folder = ""
    for line in MAP.partition("<!-- tree -->\n```\n")[2].partition("```")[0].splitlines():
        name, _, text = line.strip().partition(" ")
        if name.endswith("/"):
            folder = name
        else:
            yield (folder if line.startswith(" ") else "") + name, f"{name} {text}".lower()


@pytest.mark.parametrize(("question", "keywords", "file", "code"), QUESTIONS, ids=[q[0] for q in QUESTIONS])
def test_the_map_of_the_package_answers(question, keywords, file, code):
    """One line of the map has all keywords of a newcomer's question, and its file has the code."""
    assert [name for name, line in package_map() if all(word in line for word in keywords.split(", "))] == [
        file
    ]
    assert code in (ROOT / "ner_lightning" / file).read_text(encoding="utf-8")


def test_the_tables_of_the_map_name_what_is_there():
    begin = re.findall(r"^\| \[(\w+)/\]\(\w+\) \|.*\| ([^|]+) \|$", MAP, re.MULTILINE)
    folders = {path.name for path in (ROOT / "ner_lightning").iterdir() if (path / "__init__.py").is_file()}
    assert {folder for folder, _ in begin} == folders
    named = [f"{folder}/{name}" for folder, cell in begin for name in re.findall(r"`([^`]+)`", cell)]
    change = MAP.partition("## Where to change what")[2].partition("## ")[0]
    for cell in re.findall(r"\| ([^|]+) \|$", change, re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([^`]+)`", cell):
            folder = name.rpartition("/")[0] if "/" in name else folder
            named.append(name if "/" in name else f"{folder}/{name}")
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "ner_lightning" / name).exists()] == []


def test_what_it_says_of_openvino_is_in_the_recorded_rows():
    metrics = (
        "openvino bf16: one sentence, p50, times torch bf16",
        "ours, openvino bf16: one sentence, times ours, torch bf16",
    )
    values = [row["value"] for row in read_rows(ROOT / "docs" / "results.json") if row["metric"] in metrics]
    said = float(re.search(r"a sentence in ([\d.]+) of the time", " ".join(README.split()))[1])
    assert len(values) >= 2
    assert all(abs(said - value) <= 0.05 for value in values)
