"""Short help: the ten options that one needs first. It imports nothing heavy."""

from typing import NamedTuple


class Option(NamedTuple):
    """An option of a command: its name, its default as the parser has it, and what it means."""

    name: str
    default: str | None
    text: str


class Help(NamedTuple):
    """The short help of a command."""

    usage: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]


_EVALUATION = (
    Option("run", None, "run folder or checkpoint, same as RUN (the last run)"),
    Option("ckpt_path", None, "best, last, or a checkpoint file (best)"),
    Option("runs", "runs", "the folder of run folders"),
    Option("data.dataset", "eriktks/conll2003", "another data set (the one of the training)"),
    Option("data.{split}", None, "another file of sentences, in any format"),
    Option("data.batches.eval_size", "32", "sentences in a batch"),
    Option("trust_remote_code", None, "run code that the backbone brings or RUN names"),
    Option("trainer.accelerator", "auto", "cpu, gpu, or auto"),
    Option("trainer.devices", "auto", "how many GPUs or processes"),
    Option("trainer.precision", None, "bf16-mixed or 32-true (as in training)"),
)

_FIT = Help(
    "ner-lightning fit --config FILE [--config FILE ...] [--OPTION VALUE ...]",
    (
        Option("config", None, "a recipe, and overlays; configs/... are shipped"),
        Option("name", "run", "runs/NAME/1, 2, ... (the recipe's name)"),
        Option("seed_everything", "42", "seed of all random numbers"),
        Option("model.backbone", "meta-llama/Llama-3.2-1B-Instruct", "Hub id or folder"),
        Option("model.optimizer.lr", "0.0001", "peak learning rate of adapters or backbone"),
        Option("data.dataset", "eriktks/conll2003", "Hub id, file, folder or `sample`"),
        Option("data.batches.size", "8", "sentences in a batch on each device"),
        Option("trainer.max_epochs", "10", "epochs"),
        Option("trainer.devices", "auto", "how many GPUs or processes"),
        Option("trainer.precision", None, "bf16-mixed or 32-true"),
    ),
    (
        "ner-lightning fit --config configs/quickstart.yaml",
        "ner-lightning fit --config configs/llama_crf.yaml --model.optimizer.lr 1e-4",
        "ner-lightning fit --ckpt_path last        # resume the last run",
        "ner-lightning fit runs/quickstart/1       # resume another one",
    ),
)


def _evaluation(command: str, split: str) -> Help:
    options = tuple(o._replace(name=o.name.format(split=split)) for o in _EVALUATION)
    return Help(
        f"ner-lightning {command} [RUN] [--OPTION VALUE ...]",
        options,
        (f"ner-lightning {command}", f"ner-lightning {command} runs/quickstart/1"),
    )


HELPS = {"fit": _FIT, "validate": _evaluation("validate", "valid"), "test": _evaluation("test", "test")}


def _default(option: Option) -> str:
    """The default in brackets, unless the text says what holds without the option."""
    return "" if option.default is None or option.text.endswith(")") else f" ({option.default})"


def short_help(command: str) -> str:
    """The short help of fit, validate or test."""
    usage, options, examples = HELPS[command]
    width = max(len(option.name) for option in options) + 4
    rows = (f"  {'--' + o.name:<{width}}{o.text}{_default(o)}" for o in options)
    return "\n".join(
        [
            f"usage: {usage}",
            "",
            *rows,
            "",
            *(f"  {example}" for example in examples),
            "",
            f"`ner-lightning {command} --help-all` lists all options, `--print_config` values.",
            "",
        ]
    )
