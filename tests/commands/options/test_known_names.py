"""Names of options and keys: a wrong one is answered before anything heavy is imported, a right one never."""

import subprocess
import sys

import pytest

from ner_lightning.commands.lightning_cli import recipe
from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
from ner_lightning.commands.lightning_cli.ner_cli import NERCLI
from ner_lightning.commands.lightning_cli.start import Start
from ner_lightning.commands.main import COMMANDS, main
from ner_lightning.commands.options.config_files import Key, keys_of
from ner_lightning.commands.options.known_names import check_names
from ner_lightning.runs.shipped import FOLDER, shipped_config

TYPO = "model:\n  attention: causal\n  optimizer: {lrr: 3}\n"


def keys_of_parsers(command):
    """All keys that the parser of fit, validate or test knows."""

    class Stop(BaseException):
        pass

    found = []

    class Parsing(NERCLI):
        def parse_arguments(self, parser, args):
            found.extend(self._subcommand_parsers[command]._actions)
            raise Stop

    with pytest.raises(Stop):
        Parsing(Start([]), [command])
    return found


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_every_option_of_the_parsers_is_known(command):
    linked = {"model.types", "data.seed", "data.backbone", "data.backbone_revision", "data.trust_remote_code"}
    options = {name for action in keys_of_parsers(command) for name in action.option_strings}
    long = {name for name in options if name.startswith("--")} - {f"--{name}" for name in linked}
    assert len(long) > 100
    check_names([f"{name}=1" for name in sorted(long - {"--help", "--config"})])


def test_every_key_that_a_run_stores_is_known(tmp_path):
    file = tmp_path / "stored.yaml"
    with without_library_notes():
        file.write_text(recipe.RecipeCLI([f"--config={FOLDER / 'quickstart.yaml'}"]).text(), encoding="utf-8")
    check_names(["--config", str(file)])
    assert len(list(keys_of(file))) > 100


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/f1"],
        ["--trainer.logger.init_args.project", "x"],
        ["--data.source.path=x"],
        ["--print_config", "--model.lora.rank", "--3"],
        ["-c", "configs/quickstart.yaml", "--config", "with/softmax"],
        ["--config", "model: {attention: causal}"],
    ],
)
def test_what_only_the_parser_knows_passes(words):
    check_names(words)


def test_keys_have_their_lines(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("a: &x {b: 1}\ntrainer:\n  callbacks+:\n  - {k: 1}\nc:\n  <<: *x\n  d.e: 2\n")
    names = [("a", 1), ("a.b", 1), ("trainer", 2), ("trainer.callbacks+", 3), ("c", 5), ("c.d.e", 7)]
    assert list(keys_of(file)) == [Key(*each) for each in names]


def test_a_recipe_is_found_by_its_name_and_a_copy_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "quickstart.yaml", "configs/quickstart.yaml"):
        assert shipped_config(name) == str(FOLDER / "quickstart.yaml")
    assert shipped_config("with/softmax") == str(FOLDER / "with/softmax.yaml")
    assert shipped_config("mine") == "mine"
    assert main(["configs", "quickstart"]) == 0
    assert shipped_config("quickstart") == "configs/quickstart.yaml"
    (tmp_path / "quickstart").write_text("")
    assert shipped_config("quickstart") == "quickstart"


def answer(tmp_path, *words):
    """What a new process prints for a mistake; it imports nothing heavy."""
    code = (
        "import sys\nfrom ner_lightning.commands.main import main\n"
        f"code = main({list(words)!r})\n"
        "heavy = {'torch', 'lightning', 'transformers', 'jsonargparse'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fitt"], "there is no command 'fitt'; did you mean fit?"),
        (["fit", "--config", "quickstart", "--lr", "1"], "no option lr; did you mean model.optimizer.lr?"),
        (["fit", "--config", "quickstart", "--model.lr=1"], "no option model.lr; did you mean model.opt"),
        (["fit", "--config", "typo.yaml"], "typo.yaml:3: there is no option model.optimizer.lrr; did you"),
        (["fit", "--config", "quickstrat"], "no such file; did you mean configs/quickstart.yaml?"),
        (["fit", "quickstart"], "quickstart is a recipe, not a run; name it with --config quickstart"),
        (["fit"], "`fit` needs a recipe. To begin: ner-lightning fit --config quickstart\nShipped are "),
        (["fit", "--trainer.max_epochs", "3"], "`fit` needs a recipe."),
        (["test", "--data.batch_size", "3"], "no option data.batch_size; did you mean data.batches"),
        (["memory", "--config", "typo.yaml"], "typo.yaml:3: there is no option"),
        (["pretrain", "--config", "quickstart", "--mask_rat", "1"], "did you mean mask_ratio?"),
        (["baseline", "--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
        (["distill", "run", "--config", "typo.yaml"], "typo.yaml:3: there is no option"),
    ],
    ids=" ".join,
)
def test_a_typo_is_answered_before_anything_heavy_is_imported(tmp_path, words, said):
    (tmp_path / "typo.yaml").write_text(TYPO)
    assert said in answer(tmp_path, *words)


def test_a_fit_without_a_recipe_names_the_last_run(tmp_path):
    (tmp_path / "runs/quickstart/1").mkdir(parents=True)
    (tmp_path / "runs/last").symlink_to("quickstart/1")
    said = answer(tmp_path, "fit")
    assert f"{tmp_path}/runs/quickstart/1: ner-lightning fit --ckpt_path last" in said
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_command_is_recognised(command, capsys):
    assert main([command + "x"]) == 2
    assert f"did you mean {command}?" in capsys.readouterr().err
