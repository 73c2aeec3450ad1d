from ner_lightning.analysis.render.blocks import Code, Fold, Heading, Items, Table, Text
from ner_lightning.analysis.render.terminal_text import terminal

PROSE = (
    "A sentence of many words, among them well-known and data.encoding.context, breaks only between words. "
)


def test_lines_break_between_words_and_fit():
    lines = terminal([Text(PROSE * 3), Items([PROSE * 2]), Heading(2, PROSE)]).splitlines()
    assert max(map(len, lines)) <= 80
    assert set(" ".join(lines).split()) <= {*PROSE.split(), "-"}


def test_a_wide_table_breaks_in_its_widest_column():
    rows = [["model.optimizer.warmup", PROSE, "0.3"], ["x", "", "0.1"]]
    text = terminal([Table("What differs", ["setting", "A", "B"], rows, prose=True)])
    assert max(map(len, text.splitlines())) <= 80
    assert "model.optimizer.warmup" in text
    assert all(word in text for word in PROSE.split())


def test_a_table_that_cannot_fit_has_a_row_to_a_paragraph():
    names = [f"run-with-a-long-name/{number}" for number in range(5)]
    text = terminal([Table("The runs", ["", *names], [["F1", *(["0.123"] * 5)]])])
    assert max(map(len, text.splitlines())) <= 80
    assert "run-with-a-long-name/4: 0.123" in text


def test_what_is_folded_and_commands_are_shown_whole():
    command = "ner-lightning fit --config " + "x" * 100
    assert terminal([Fold("More", [Code(command)])]) == f"More\n\n{command}\n"
