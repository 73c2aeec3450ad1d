"""The docs: made pages are up to date, links lead somewhere, examples run, commands parse."""

import collections
import doctest
import functools
import itertools
import json
import os
import re
import shlex
from pathlib import Path
from statistics import mean

import measured_options
import pytest
import results
import write_reference
import yaml

from ner_lightning.commands.completion import option_names
from ner_lightning.commands.data_actions import data_options
from ner_lightning.commands.lightning_cli.recipe import parser
from ner_lightning.commands.main import COMMANDS, main
from ner_lightning.commands.options.consent import GROUPS
from ner_lightning.runs.results import FIELDS, read_rows

ROOT = Path(__file__).parent.parent
SKIPPED = {".venv", ".git", "data", "runs", "build", "node_modules", ".pytest_cache"}
PAGES = sorted(page for page in ROOT.rglob("*.md") if SKIPPED.isdisjoint(page.relative_to(ROOT).parts[:-1]))
LINK = re.compile(r"\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")
BLOCK = re.compile(r"^```.*?^```$", flags=re.S | re.M)


def name(page):
    return str(page.relative_to(ROOT))


def slugs(page):
    """The anchors that GitHub gives a page's headings."""
    found = []
    for line in BLOCK.sub("", page.read_text(encoding="utf-8")).split("\n"):
        if heading := re.fullmatch(r"#{1,6} (.+?)\s*", line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            seen = sum(
                other == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", other) is not None for other in found
            )
            found.append(f"{slug}-{seen}" if seen else slug)
        found += re.findall(r'<a (?:id|name)="([^"]+)"', line)
    return found


def dead_links(page):
    """Targets of a page's links that are no file of the tree, or no heading of the file."""
    found = []
    for target in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        is_there = file.exists() and file.is_relative_to(ROOT)
        if not is_there or (anchor and file.suffix == ".md" and anchor not in slugs(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_lead_somewhere(page):
    assert dead_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_code_begin_and_end_on_lines_of_their_own(page):
    fences = [line for line in page.read_text(encoding="utf-8").splitlines() if "```" in line]
    assert [line for line in fences if not re.fullmatch(r" *(>\s*)?```+[\w-]*", line)] == []
    assert len(fences) % 2 == 0


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "other_(1).md").write_text("# One heading\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other_(1).md#one-heading) [b](other_(1).md#two) [c](none.md) [d](#none) [e](/etc/passwd)\n"
        "[f](https://example.org/none)\n\n```\n[g](in-code.md)\n```\n",
        encoding="utf-8",
    )
    assert dead_links(page) == ["other_(1).md#two", "none.md", "#none", "/etc/passwd"]


def test_pages_made_from_the_code_are_up_to_date():
    for page, text in write_reference.pages().items():
        stale = f"{name(page)}: run python docs/write_reference.py --write"
        assert page.read_text(encoding="utf-8") == text, stale


def test_recorded_runs_name_options_as_they_are_called_today():
    keys = {action.dest for action in parser()._actions}
    rows = read_rows(ROOT / "docs/results.json")
    options = {option for row in rows for option in re.findall(r"--\S+", " ".join(row["overrides"]))}
    named = {option for option in options if option.startswith(("--model.", "--data.", "--trainer."))}
    assert named
    assert {
        option for option in named if option[2:] not in keys and not results.REMOVED.match(option)
    } == set()


@pytest.mark.parametrize(
    "option",
    [
        "--data.dataset x",
        "--data.train a.conll",
        "--data.test a.conll",
        "--data.limits.train 300",
        "--data.first_space true",
    ],
)
def test_a_table_of_scores_leaves_out_other_data_and_removed_options(option):
    row = {"config": "r", "overrides": [], "split": "test", "metric": "f1", "seed": 1, "value": 0.5}
    table = results.score_table([row, row | {"overrides": [option], "value": 0.9}], "r")
    assert "0.5000" in table
    assert "0.9000" not in table


def test_the_reference_has_every_key_and_every_option():
    page = (ROOT / "docs/reference/config.md").read_text(encoding="utf-8")
    linked = write_reference.LINKED | {f"trainer.{key}" for key in write_reference.REFUSED}
    keys = {action.dest for action in parser()._actions} - linked - {"help", "model", "data", "trainer"}
    groups = {f"{section}.{name}" for section, names in GROUPS.items() for name in names}
    keys = {key for key in keys if not key.endswith(".help")} - groups
    for key in keys:
        assert f"`{key}`" in page or f"**{key}**" in page, key
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
        assert section, command
        if COMMANDS[command][0] != "fit":
            for option in option_names(command):
                assert f"`{option}`" in section or option == "--help", (command, option)


def test_options_tell_what_they_gained_and_cost(tmp_path, monkeypatch):
    def row(rung, value, minutes, machine="a"):
        of_cell = {"ladder": "conll2003", "rung": rung, "minutes": minutes, "peak_memory_bytes": None}
        return dict.fromkeys(FIELDS, "") | of_cell | {"value": value, "machine": machine}

    monkeypatch.setattr(measured_options, "RESULTS", tmp_path / "results.json")
    assert measured_options.measured_options() == {}
    first = measured_options.read_ladder(measured_options.LADDER).cells[0].rung
    rows = [row(first, 0.80, 2.0), row(first, 0.82, None), row("causal", 0.70, 1.0)]
    rows += [row("softmax", 0.815, 2.0), row("first-sub-token", 0.82, 9.0, machine="b")]
    measured_options.RESULTS.write_text(json.dumps(rows), encoding="utf-8")
    found = measured_options.measured_options()
    assert found["model.attention"] == "`causal`: -11.0 F1, 0.5x time"
    assert found["model.use_crf"] == "`false`: +0.5 F1, 1.0x time"
    assert found["model.architecture.pooling"] == "`first`: +1.0 F1"  # elsewhere, so its time says nothing
    assert "data.encoding.context" not in found


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / t.partition("#")[0]).resolve()
        for t in LINK.findall(index.read_text(encoding="utf-8"))
    }
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {index.resolve()}
    assert pages <= linked


def commands():
    """Every command line of ours in the docs' shell blocks, joined where it goes on in the next line."""
    for page in PAGES:
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M):
            for line in block.replace("\\\n", " ").split("\n"):
                words = shlex.split(line, comments=True)
                while words and re.match(r"\w+=", words[0]):
                    words = words[1:]
                if words and words[0] in {"ner-lightning", ".venv/bin/ner-lightning"}:
                    yield pytest.param(words[1:], id=f"{name(page)}: {' '.join(words)[:60]}")


@functools.cache
def names_of(command):
    return frozenset(option_names(command))


@pytest.mark.parametrize("words", list(commands()))
def test_commands_of_the_docs_exist_with_their_options(words):
    command, *rest = words
    if command.startswith("-"):
        return
    assert command in COMMANDS
    known = names_of(command)
    if command == "data":
        assert rest[0] in data_options.ACTIONS
        known = {
            name
            for action in data_options.parser(f"data {rest[0]}")._actions
            for name in action.option_strings
        }
    # These take a recipe's options as well.
    if command in {"baseline", "distill", "memory", "pretrain"} or rest[:1] == ["audit"]:
        known = known | names_of("fit")
    for word in rest:
        if word.startswith("--"):
            option = word.partition("=")[0].removesuffix("+")
            assert option in known or ".init_args." in option or option.startswith("--trainer.logger."), word


def keys_of(recipe, prefix=""):
    """The keys of a nested recipe, with dots; those of a class of one's own end at its place."""
    for name, value in recipe.items():
        if isinstance(value, dict) and "class_path" not in value:
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_keys_in_the_text_are_those_of_recipes():
    keys = {action.dest for action in parser()._actions}
    groups = {".".join(key.split(".")[:depth]) for key in keys for depth in range(1, key.count(".") + 1)}
    groups.add("data.readers.formats")  # a module
    checked = 0
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # it names keys that were renamed
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`(?:--)?((?:model|data|trainer)\.[a-z_.]*[a-z_])", BLOCK.sub("", text))
        for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.S | re.M):
            recipe = yaml.safe_load(block)
            if recipe.keys() & {"model", "data", "trainer"}:
                named += keys_of(recipe)
        assert {key for key in named if key not in keys | groups} == set(), name(page)
        checked += len(named)
    assert checked > 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory, llama, corpus):
    """A folder with a trained run and data, in which examples run."""
    folder = tmp_path_factory.mktemp("docs")
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 8},
        "model": {
            "backbone": str(llama),
            "lora": {"rank": 4},
            "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1},
        },
        "data": {"dataset": str(corpus), "batches": {"size": 4}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "backbone").symlink_to(llama)
    (folder / "data").symlink_to(corpus)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config", "recipe.yaml"]) == 0
        assert main(["test"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:Found .* in eval mode at the start of training.*"
)
def test_examples_of_the_api_run(trained, monkeypatch):
    monkeypatch.chdir(trained)
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.S | re.M)
    assert len(blocks) > 4
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "python.md", "python.md", 0)
    assert len(test.examples) > 15
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said = []
    doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=said.append)
    assert not said, "".join(said)


@functools.cache
def measured():
    """Scores of docs/results.json and their means over seeds, from 0 to 1 and in points."""
    groups = collections.defaultdict(list)
    for row in read_rows(ROOT / "docs/results.json"):
        key = (row["config"], tuple(row["overrides"]), row["split"], row["metric"])
        groups[*key, row.get("ladder"), row.get("rung")].append((row["seed"], row["value"]))
    values = [value for rows in groups.values() for _, value in rows]
    for (*_, metric, _, _), rows in groups.items():
        if metric in {"f1", "precision", "recall"}:
            chosen = (some for n in range(2, len(rows) + 1) for some in itertools.combinations(rows, n))
            values += [mean(v for _, v in some) for some in chosen if len({s for s, _ in some}) == len(some)]
    return {f"{value:.4f}" for value in values} | {f"{100 * value:.2f}" for value in values}


@pytest.mark.parametrize("page", ["explanations/*", "tutorials/*", "ladder", "how-much-data", "pretrain"])
def test_scores_in_prose_come_from_the_results(page):
    """A score outside a made table must be one of docs/results.json's, or a mean over seeds."""
    count = 0
    for file in (ROOT / "docs").glob(f"{page}.md"):
        prose = re.sub(
            r"<!-- (results|file): .*?<!-- end -->", "", file.read_text(encoding="utf-8"), flags=re.S
        )
        for figure in re.findall(r"\b0\.\d{4}\b|\b\d\d\.\d\d\b", prose):
            assert figure in measured(), (file.name, figure)
            count += 1
    assert count or page == "tutorials/*"


def test_the_job_for_skypilot_is_whole_and_says_that_it_was_never_run():
    text = (ROOT / "docs/skypilot.yaml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)
    known = {"name", "resources", "workdir", "file_mounts", "envs", "secrets", "setup", "run", "num_nodes"}
    assert {"resources", "setup", "run", "file_mounts"} <= job.keys() <= known
    assert "never run" in text.split("resources:")[0]
    assert job["resources"]["accelerators"]
    for mount, where in job["file_mounts"].items():
        assert Path(mount).is_absolute()
        assert where["mode"] in {"COPY", "MOUNT"}
        assert where["source"].startswith("s3://")
    commands = job["run"].replace("\\\n", " ")
    assert (ROOT / job["envs"]["CONFIG"]).is_file()
    found = re.findall(r"^\.venv/bin/ner-lightning (\w+) (.*)$", commands, flags=re.M)
    assert [command for command, _ in found] == ["fit", "export", "predict"]
    for command, words in found:
        known = option_names(command)
        assert {word.partition("=")[0] for word in shlex.split(words) if word.startswith("--")} <= set(known)
