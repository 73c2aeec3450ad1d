"""What an audit's weights are worth: python benchmarks/audit_weights.py FOLDER --record docs/results.json.

FOLDER is that of `audit_sample.py`: training data with wrong labels, and their audit. Trains on these data
with every sentence counting the same, with the audit's weights, and without the sentences whose weight is the
least.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cells import add_options, cells_of

from ner_lightning.data.sentence_weights import LEAST

RECIPE = ("configs/quickstart.yaml", "configs/with/cache_top6.yaml")
ARMS = ("equal", "weighted", "without")
CONFIG = "audit weights"


def left_out(weights: Path, file: Path) -> None:
    """Writes the weights with 0 in place of the least."""
    rows = [json.loads(line) for line in weights.read_text(encoding="utf-8").splitlines()]
    least = round(LEAST, 4)
    lines = (json.dumps(row | {"weight": row["weight"] if row["weight"] > least else 0}) for row in rows)
    file.write_text("\n".join(lines), encoding="utf-8")


def main(args: Sequence[str] | None = None) -> int:
    """Runs the cells that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="the one that audit_sample.py was given")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    add_options(parser, RECIPE)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    cells = cells_of(CONFIG, "audit_weights.py", options, words)
    weights, without = options.folder / "audit" / "weights.jsonl", options.folder / "without.jsonl"
    left_out(weights, without)
    given = {
        "equal": {},
        "weighted": {"data.supervision.sentence_weights": weights},
        "without": {"data.supervision.sentence_weights": without},
    }
    for seed in options.seeds:
        for arm in options.arms:
            cells.run([arm], seed, {"data.train": options.folder / "train.jsonl"} | given[arm])
    return 0


if __name__ == "__main__":
    sys.exit(main())
