"""The actions of `ner-lightning data`, and their options."""

from typing import Any, get_args

from ner_lightning.commands.options.command_line import Parser
from ner_lightning.data.readers import read_options
from ner_lightning.data.writers.output_formats import ANNOTATED

ACTIONS = {
    "convert": "convert annotated files to another format: INPUT ... --output FILE",
    "split": "split a file into train, valid and test: FILE --output DIR",
    "audit": "find training labels that are probably wrong: --config FILE",
    "check": "look for what is wrong or odd in a data set: DIR or FILE",
}
WINDOW = 512  # sub-tokens
RULES = {
    "misaligned": read_options.Misaligned,
    "overlapping": read_options.Overlapping,
    "several_tags": read_options.SeveralTags,
    "empty_words": read_options.EmptyWords,
}
NAMES = ("tag_names", "rename_types")
_INPUT = "file or folder in any format; - for standard input; sample: the bundled training sentences"
_RULE_HELP = {
    "misaligned": "an entity that begins or ends inside a word splits it, is expanded, or is dropped",
    "overlapping": "of entities that overlap, keep the longest or the first; refuse stops",
    "several_tags": "of several tags of a word, keep the first; refuse stops",
    "empty_words": "leave out words without a visible character; refuse stops",
}


def _add_reading(parser: Parser) -> None:
    """Adds the options of `data.files`."""
    add = parser.add_argument
    choices = get_args(read_options.FormatName)
    text = "format of the input (default: recognised): %(choices)s"
    add("--from", dest="source_format", choices=choices, metavar="FORMAT", help=text)
    add("--words_column", metavar="NAME", help="column or field of words or text; a number counts from 0")
    add("--tags_column", metavar="NAME", help="the same with tags or entities")
    add("--document_column", metavar="NAME", help="the same with what tells documents apart")
    add("--tag_names", metavar="TAGS", help="tags that numbers stand for, O,B-PER,I-PER; or a file of them")
    add("--rename_types", metavar="NAMES", help="new names of types, OLD=NEW,OLD=NEW; OLD= leaves one out")
    for name, values in RULES.items():
        add(f"--{name}", choices=get_args(values), default=get_args(values)[0], help=_RULE_HELP[name])


def parser(name: str) -> Parser:
    """The options of `data convert`, `data split`, `data audit` or `data check`; of `data`, those of all."""
    action = name.rpartition(" ")[2]
    if action not in ACTIONS:
        return _of_all(name)
    if action == "audit":
        from ner_lightning.commands.data_actions import data_audit

        return data_audit.parser(name)
    made = Parser(name, ACTIONS[action].partition(":")[0].capitalize() + ".")
    add: Any = made.add_argument
    if action == "convert":
        add("input", nargs="+", metavar="INPUT", help=_INPUT)
        add(
            "--output",
            required=True,
            metavar="FILE",
            help="its suffix names the format; - with --to",
        )
    elif action == "split":
        add("input", metavar="FILE", help=_INPUT)
        add("--output", required=True, metavar="DIR", help="folder of train, valid and test")
        add("--valid", type=float, default=0.1, metavar="SHARE", help="share of the words (0.1)")
        add("--test", type=float, default=0.1, metavar="SHARE", help="share of the words (0.1); 0: none")
        add("--seed", type=int, default=1, help="decides which documents (1)")
    else:
        add(
            "input", metavar="DIR", help="folder of train, valid and test, a file to be trained on, or sample"
        )
        add("--output", metavar="FILE", help="write a page as well: FILE.html")
        add("--json", action="store_true", help="print JSON")
        add("--no-text", action="store_true", help="leave out all text of the data")
        add("--backbone", metavar="NAME", help="also check words and lengths with its tokenizer")
        add("--max_length", type=int, default=WINDOW, metavar="N", help="window in sub-tokens (512)")
    if action in ("convert", "split"):
        text = "format of the output (default: by the name, or as the input): %(choices)s"
        add("--to", choices=ANNOTATED, metavar="FORMAT", help=text)
        add("--overwrite", action="store_true", help="write over existing files")
    _add_reading(made)
    return made


def _of_all(name: str) -> Parser:
    """The options of all actions together, for a shell that completes them."""
    made = Parser(name, "Converts, splits, checks and audits annotated data.")
    made.add_argument("action", choices=tuple(ACTIONS))
    for action in ACTIONS:
        for option in parser(f"{name} {action}")._actions:
            if option.option_strings and not made._option_string_actions.keys() & {*option.option_strings}:
                made._add_action(option)
    return made
