"""`--help` is there at once, and says what the parser says."""

import ast
import contextlib
import resource
import subprocess
import sys

import pytest

from ner_lightning.commands.data_actions.data_options import ACTIONS
from ner_lightning.commands.lightning_cli.ner_cli import NERCLI
from ner_lightning.commands.lightning_cli.start import Start
from ner_lightning.commands.main import COMMANDS, main
from ner_lightning.commands.options.help import HELPS, short_help

OWN = {"config", "run", "ckpt_path", "trust_remote_code"}  # read by us before the parser, or by all parsers
HEAVY = {"torch", "lightning", "transformers", "peft", "numpy", "jsonargparse", "datasets", "wandb"}


@pytest.fixture(scope="module")
def parsers():
    """The parser of each subcommand."""
    found = {}

    class Stop(BaseException):
        pass

    class Parsing(NERCLI):
        def parse_arguments(self, parser, args):
            found.update(self._subcommand_parsers)
            raise Stop

    for command in ("fit", "validate", "test"):
        with pytest.raises(Stop):
            Parsing(Start([]), [command])
    return found


@pytest.mark.parametrize("command", HELPS)
def test_each_option_is_the_parsers(parsers, command):
    options = HELPS[command].options
    assert len(options) == 10
    defaults = parsers[command].get_defaults(skip_validation=True)
    for option in options:
        if option.name not in OWN:
            value = defaults[option.name]
            assert option.default == (None if value is None else str(value)), option.name


def modules_and_seconds(*words):
    """What a command imported, and the processor's time that it took."""
    code = (
        "import sys\nfrom ner_lightning.commands.main import main\n"
        f"try:\n    code = main({list(words)!r})\nexcept SystemExit as stop:\n    code = stop.code\n"
        "print(sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)\nsys.exit(code)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return set(ast.literal_eval(done.stderr.splitlines()[-1])), seconds, done.stdout


@pytest.mark.parametrize("words", [["--help"], [], ["--version"], *([c, "--help"] for c in COMMANDS)])
def test_help_imports_nothing_heavy_and_is_there_at_once(words):
    imported, seconds, said = modules_and_seconds(*words)
    assert said
    assert not imported & HEAVY
    assert seconds < 0.4


def test_help_fits_a_screen_and_names_the_long_one(capsys):
    for command in HELPS:
        assert main([command, "--help"]) == 0
        said = capsys.readouterr().out
        assert said == short_help(command)
        assert "--help-all" in said
        assert len(said.splitlines()) < 24
        assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    "words", [[], *([c] for c in COMMANDS), *(["data", a] for a in ACTIONS)], ids=" ".join
)
def test_help_fits_80_columns(words, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):
        assert main([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0].startswith("usage: ner-lightning")


def test_all_options_are_behind_help_all(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--help-all"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--model.lora.rank" in said
    assert "--trainer.gradient_clip_val" in said
