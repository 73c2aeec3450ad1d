import re
import shlex
from pathlib import Path

import pytest
import yaml

from ner_lightning.commands.main import COMMANDS, command_module, main

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
    if COMMANDS[command][0] != "fit":
        _, rest = command_module(command).parser(command).parse_known_args(words)
        if command not in {"baseline", "pretrain"}:  # which take the options of fit as well
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
