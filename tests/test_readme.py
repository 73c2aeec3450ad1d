import re
import shlex
from pathlib import Path

import pytest
import yaml

from ner_lightning import export_cli, report_cli, serve_cli
from ner_lightning.cli import COMMANDS, main
from ner_lightning.predict_cli import _parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("predict", "export", "serve"))]
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
    if command in {"report", "compare"}:
        parser = report_cli._report_parser() if command == "report" else report_cli._compare_parser()
        assert parser.parse_args(words)
        return
    if command in {"export", "serve"}:
        assert (export_cli if command == "export" else serve_cli).parser().parse_args(words)
        return
    if command == "predict":
        options = _parser("predict").parse_args(words)
        assert options.output or options.text or options.calibrate
        return
    # What is continued, validated or tested takes its config from a run; here from a recipe.
    options = [w for w in words if not re.match(r"last$|--ckpt_path|--run$|runs/", w)]
    if "--config" not in options:
        options = ["--config", "configs/llama_crf.yaml", *options]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *options, "--print_config"])
    assert stop.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["backbone"]


def test_links_of_the_readmes_lead_somewhere():
    for page in (*PAGES, ROOT / "ner_lightning" / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target


def test_the_map_names_every_module_and_nothing_else():
    text = (ROOT / "ner_lightning" / "README.md").read_text(encoding="utf-8").split("```")[3]
    named = set(re.findall(r"\b(\w+\.py)\b", text))
    modules = {p.name for p in (ROOT / "ner_lightning").rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == modules
