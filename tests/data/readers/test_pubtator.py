"""PubTator: documents of a title and an abstract, with entities by characters."""

import pytest

from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import DataError

TITLE, ABSTRACT = "7|t|Aspirin in fever.\n", "7|a|It lowers  fever. Nobody knew.\n"
TWO = (
    f"{TITLE}{ABSTRACT}"
    "7\t0\t7\tAspirin\tChemical\tD001241\n"
    "7\t11\t16\tfever\tDisease\tD005334\n"
    "7\t29\t34\tfever\tDisease\tD005334\n"
    "7\tCID\tD001241\tD005334\n"
    "\n\n"
    "8|t|No drug.\n8|a|\n"
    "9|t|Ibuprofen.\n9\t0\t9\tIbuprofen\tChemical\n"
)


def entities(sentences):
    return [
        (" ".join(sentence.words), [tag for tag in sentence.tags if tag != "O"]) for sentence in sentences
    ]


def test_documents_are_read_with_or_without_blank_lines_and_relations_are_told_of(tmp_path, caplog):
    file = tmp_path / "corpus.txt"
    file.write_text(TWO, encoding="utf-8")
    sentences = read_sentences(str(file))
    assert entities(sentences) == [
        ("Aspirin in fever .", ["B-Chemical", "B-Disease"]),
        ("It lowers fever .", ["B-Disease"]),
        ("Nobody knew .", []),
        ("No drug .", []),
        ("Ibuprofen .", ["B-Chemical"]),
    ]
    assert len({sentence.document for sentence in sentences}) == 3
    assert "1 relations are left out: '7\\tCID\\tD001241\\tD005334' (line 6)" in caplog.text


def test_predict_reads_the_texts_with_their_ids(tmp_path):
    file = tmp_path / "corpus.pubtator"
    file.write_text(TWO, encoding="utf-8")
    records = list(Inputs(str(file), ReadOptions(tagged=False)).read())
    assert [(record.id, record.line) for record in records] == [("7", 1), ("8", 9), ("9", 11)]
    assert records[0].content == "Aspirin in fever.\nIt lowers  fever. Nobody knew."
    assert records[0].entities is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("7\t1\t7\tAspirin\tChemical\n", ":3: the entity Chemical from 1 to 7 is stated as 'Aspirin', but"),
        ("7\t0\t7\tAspirin\t\n", ":3: '7\\t0\\t7\\tAspirin\\t' has no entity type"),
        ("7\t0\t7\tAspirin\n", ":3: '7\\t0\\t7\\tAspirin' is malformed"),
        ("7\t7\t7\t\tChemical\n", ":3: the entity Chemical from 7 to 7"),
        (f"7\t0\t{'9' * 5000}\tAspirin\tChemical\n", ":3: '7\\t0\\t999"),
        ("8\t0\t7\tAspirin\tChemical\n", ":3: '8\\t0\\t7\\tAspirin\\tChemical' does not belong to"),
        ("7|a|Again.\n", ":3: '7|a|Again.' does not belong to a document that begins with 7|t|TITLE"),
        ("\n7\t0\t7\tAspirin\tChemical\n", ":4: '7\\t0\\t7\\tAspirin\\tChemical' does not belong to"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(tmp_path, lines, message):
    file = tmp_path / "corpus.txt"
    file.write_text(TITLE + ABSTRACT + lines, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_sentences(str(file))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "1|t|A \U0001f9ec gene.\n1|a|It is BRCA.\n1\t5\t9\tgene\tX\n1\t17\t21\tBRCA\tGene\n",
            "UTF-16 code units",
        ),
        ("1|t|A é gene.\n1\t5\t9\tgene\tX\n", "bytes of UTF-8"),
        ("1|t|A gene.\n1\t2\t5\tgene\tX\n", "characters, the last one included"),
    ],
)
def test_other_offsets_that_the_stated_texts_prove_are_converted(tmp_path, caplog, lines, said):
    file = tmp_path / "corpus.txt"
    file.write_text(lines, encoding="utf-8")
    first = read_sentences(str(file))[0]
    assert [word for word, tag in zip(first.words, first.tags, strict=True) if tag != "O"] == ["gene"]
    assert said in caplog.text
