"""Draws docs/learning-curve.svg from the recorded rows: python benchmarks/draw_curve.py."""

import sys
from pathlib import Path

import results

from ner_lightning.analysis.render.learning_curve import learning_curve
from ner_lightning.analysis.render.style import svg
from ner_lightning.runs.ladder_file import read_ladder
from ner_lightning.runs.ladder_table import curve_points
from ner_lightning.runs.results import read_rows

LADDER = Path(__file__).parent / "ladders" / "conll2003_curve.yaml"
PICTURE = Path(__file__).parent.parent / "docs" / "learning-curve.svg"


def picture() -> str:
    """The picture of all recorded cells, as SVG."""
    points = curve_points(read_ladder(LADDER), read_rows(results.FILE))
    return svg(learning_curve(points, "annotated sentences"))


def main() -> int:
    """Writes the picture."""
    PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
