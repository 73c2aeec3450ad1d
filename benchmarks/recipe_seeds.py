"""How far seeds are apart: python benchmarks/recipe_seeds.py --config FILE --record docs/results.json.

Trains a recipe with several seeds. A recipe that is recommended has seeds that agree: a deviation of F1 on
validation under 0.3 points on a whole data set. A cell is a seed; it is skipped if it has rows.
"""

import argparse
import sys
from collections.abc import Sequence

from cells import add_options, cells_of

RECIPE = ("configs/quickstart.yaml",)
CONFIG = "recipe seeds"


def main(args: Sequence[str] | None = None) -> int:
    """Runs the seeds that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser, RECIPE)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    cells = cells_of(CONFIG, "recipe_seeds.py", options, words)
    for seed in options.seeds:
        cells.run([], seed, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
