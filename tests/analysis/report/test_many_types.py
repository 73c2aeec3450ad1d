"""A report of a tagger with hundreds of entity types: a page that can be read, made in seconds."""

import json

from ner_lightning.analysis.experiment import find_experiment
from ner_lightning.analysis.render.blocks import Figure, Fold, Table, markdown
from ner_lightning.analysis.report.assemble import report_blocks

TYPES = 400


def predictions(file, shift):
    with file.open("w") as lines:
        for index in range(TYPES * 2):
            kind = index % TYPES
            found = (kind + shift) % TYPES if index % 3 == 0 else kind
            row = {
                "words": [f"w{index}", "x"],
                "gold": [f"B-T{kind}", "O"],
                "predicted": [f"B-T{found}", "O"],
            }
            lines.write(json.dumps({**row, "document": index}) + "\n")
    return find_experiment(str(file), file.parent)


def within(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from within(block.blocks)


def test_tables_and_figures_have_the_most_frequent_types(tmp_path):
    runs = [predictions(tmp_path / f"{name}.jsonl", shift) for name, shift in (("a", 1), ("b", 2))]
    blocks = list(within(report_blocks(runs)))
    tables = {block.caption: block for block in blocks if isinstance(block, Table)}
    assert max(len(table.rows) for table in tables.values()) <= 32
    assert max(len(table.head) for table in tables.values()) <= 32
    assert any("the 30 most frequent of 400" in caption for caption in tables)
    confusion = tables["Gold (rows) against predicted types (columns)"]
    assert confusion.head[-2:] == ["371 others", "missed"]
    counts = [int(cell) for row in confusion.rows for cell in row[1:]]
    assert sum(counts) == 2 * TYPES, "every entity is in the matrix"
    assert sum(len(block.svg) for block in blocks if isinstance(block, Figure)) < 1_000_000
    assert len(markdown(blocks)) < 50_000
