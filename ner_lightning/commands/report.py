"""`ner-lightning report` and `ner-lightning compare`: reports on runs, made from their files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ner_lightning.commands.options.command_line import SCORED_SPLITS, Parser, check_folder
from ner_lightning.errors import UserError
from ner_lightning.system.output_checks import check_new, writing

MARKS = (b"Made from the files of the run", b"Made from a file of predictions alone")  # of a report of ours
REMEDY = "name another folder, or move it away"


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs `report` or `compare`; raises UserError at a user's mistake."""
    if subcommand == "compare":
        _compare(_compare_parser().parse_args(args))
    else:
        _report(_report_parser().parse_args(args))


def _compare(options: argparse.Namespace) -> None:
    if len(options.runs_to_compare) < 2:
        raise UserError("name two runs or more to compare")
    # Here and below: `--help` must not wait for numpy, torch and the plots.
    from ner_lightning.analysis.compare import shared_split
    from ner_lightning.analysis.experiment import find_experiment
    from ner_lightning.analysis.render.terminal_text import terminal
    from ner_lightning.analysis.report.comparison import comparison

    runs = [find_experiment(address, Path(options.runs)) for address in options.runs_to_compare]
    sys.stdout.write(terminal(comparison(runs, shared_split(runs, options.split))))


def _report(options: argparse.Namespace) -> None:
    if options.output:
        check_folder("--output", options.output)
    from ner_lightning.analysis.experiment import find_experiment
    from ner_lightning.analysis.gains import read_results

    runs = [find_experiment(address, Path(options.runs)) for address in options.runs_to_report or [None]]
    ladder = read_results(Path(options.ladder)) if options.ladder else None
    folder = Path(options.output) if options.output else runs[0].folder
    if folder is None:
        raise UserError(
            "a file of predictions has no run folder: name where the report goes with --output DIR"
        )
    from ner_lightning.analysis.render.blocks import markdown
    from ner_lightning.analysis.render.html import html
    from ner_lightning.analysis.report.assemble import report_blocks
    from ner_lightning.system.atomic import write_text

    for name in ("report.md", "report.html") if options.output else ():
        check_new(folder / name, f"--output {folder / name}", marks=MARKS, remedy=REMEDY)
    report = report_blocks(runs, split=options.split, text=not options.no_text, ladder=ladder)
    with writing(f"--output {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "report.md", markdown(report))
        write_text(folder / "report.html", html(report))
    sys.stdout.write(f"{folder / 'report.md'}\n{folder / 'report.html'}\n")


def _report_parser() -> Parser:
    description = "Writes report.md and report.html: a verdict, scores, mistakes, training, set-up."
    parser = Parser("report", description)
    parser.add_run(
        "runs_to_report",
        "*",
        "run folder, or a file of predictions; several are compared (default: the last run)",
    )
    parser.add_argument("--output", metavar="DIR", help="where to write (default: the first run's folder)")
    parser.add_argument("--no-text", action="store_true", help="leave out all text of the data")
    text = "measured rows, as `ladder` writes with --results, for mitigations to cite"
    parser.add_argument("--ladder", metavar="FILE", help=text)
    parser.add_argument(
        "--split",
        choices=SCORED_SPLITS,
        help="whose failures to analyse (default: valid; test stays unseen)",
    )
    return parser


def _compare_parser() -> Parser:
    parser = Parser(
        "compare",
        "Compares runs on the same sentences: which is better, by type and sentence, and what differs.",
    )
    parser.add_run("runs_to_compare", "*", "run folder, or a file of predictions")
    parser.add_argument(
        "--split", choices=SCORED_SPLITS, help="what to compare on (default: valid; test stays unseen)"
    )
    return parser


def parser(name: str) -> Parser:
    """Its options."""
    return _compare_parser() if name == "compare" else _report_parser()
