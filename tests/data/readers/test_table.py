"""CSV with a word a row: what is read, and where errors are said to be."""

import pytest
import yaml

from ner_lightning.commands.main import main
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import DataError

PLAIN = "sentence,word,tag\n1,Vera,B-PERSON\n1,left,O\n2,Lima,B-PLACE\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="a.csv"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8", newline="")
        return path

    return write


def pairs(sentences):
    return [(each.words, each.tags) for each in sentences]


WANTED = [(("Vera", "left"), ("B-PERSON", "O")), (("Lima",), ("B-PLACE",))]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n2,", "\n\n2,"),
        PLAIN.replace("sentence,word,tag", "Sentence_ID,Token,Label"),
        PLAIN.replace("1,left", ",left").replace("sentence", "Sentence #"),  # named at its first word only
        "tag,id,sentence,word\nB-PERSON,1,x,Vera\nO,2,x,left\nB-PLACE,3,y,Lima\n",
        PLAIN.replace("B-", "I-"),  # IOB1
    ],
)
def test_usual_tables_are_read(file, content):
    assert pairs(read_sentences(file(content))) == WANTED


def test_a_table_of_texts_between_tabs_is_no_list_of_words(file):
    rows = "id\ttext\n1\tVera Holt left Lima.\n2\tOkoro beat\n"
    for name in ("t.tsv", "t.csv"):
        records = list(Inputs(str(file(rows, name)), ReadOptions(id_column="id", tagged=False)).read())
        assert [(each.id, each.content) for each in records] == [
            ("1", "Vera Holt left Lima."),
            ("2", "Okoro beat"),
        ]
    headless = file("1\tVera Holt left Lima.\n2\tOkoro beat Lima.\n", "h.tsv")
    with pytest.raises(DataError, match="no column word or token"):
        list(Inputs(str(headless), ReadOptions(tagged=False)).read())
    words = file("Vera\tNNP\nleft\tVBD\n\nLima\tNNP\n", "w.tsv")
    assert [r.content for r in Inputs(str(words), ReadOptions(tagged=False)).read()] == [
        ("Vera", "left"),
        ("Lima",),
    ]


def test_cells_may_be_quoted_and_columns_named(file):
    path = file('sentence,form,gold\n1,"a,b",O\n1,"""",O\n')
    found = read_sentences(path, ReadOptions(words_column="form", tags_column="gold"))
    assert pairs(found) == [(("a,b", '"'), ("O", "O"))]
    assert read_sentences(path, ReadOptions(words_column="form", tagged=False))[0].tags is None


def test_of_two_columns_of_tags_or_words_one_is_named(file):
    path = file("sentence,word,tag,ner\n1,Vera,NNP,B-PER\n1,left,VBD,O\n")
    with pytest.raises(DataError, match=r"the columns tag and ner may both hold the tags;\nname one as data"):
        read_sentences(path)
    assert read_sentences(path, ReadOptions(tags_column="ner"))[0].tags == ("B-PER", "O")
    assert read_sentences(path, ReadOptions(tagged=False))[0].words == ("Vera", "left")
    same = file("sentence,word,tag,label\n1,Vera,B-PER,B-PER\n1,left,O,O\n")
    assert read_sentences(same)[0].tags == ("B-PER", "O")
    forms = file("sentence,form,word,tag\n1,don't,do,O\n1,.,.,O\n")
    with pytest.raises(DataError, match=r"form and word may both hold the words;\n.*--words_column"):
        read_sentences(forms, ReadOptions(tagged=False))
    assert read_sentences(forms, ReadOptions(words_column="word"))[0].words == ("do", ".")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", [0, 200])  # rows that come first
def test_a_quote_that_is_not_quoted_is_a_word(file, delimiter, before):
    words = [*["a"] * before, "He", '"', "Paris", '"', "."]
    rows = [("sentence", "word", "lemma", "tag"), *(("1", word, word, "O") for word in words)]
    rows.append(("2", "Lima", '"two\nlines"', "B-PLACE"))
    content = "".join(delimiter.join(row) + "\n" for row in rows)
    first, second = read_sentences(file(content))
    assert first.words == tuple(words)
    assert (second.words, second.tags, second.line) == (("Lima",), ("B-PLACE",), len(words) + 2)


def test_documents_are_numbered(file):
    path = file("document,sentence,word,tag\nd,1,a,O\nd,2,b,O\ne,3,c,O\n")
    assert [each.document for each in read_sentences(path)] == [0, 0, 1]


@pytest.mark.parametrize("name", ["document", "Document_ID"])
def test_numbers_of_sentences_may_begin_again_in_each_document(file, name):
    rows = "d,1,a,O\n,,b,O\ne,1,c,O\nf,1,d,O\n,2,e,O\n"
    found = read_sentences(file(f"{name},sentence,word,tag\n{rows}"))
    assert [each.words for each in found] == [("a", "b"), ("c",), ("d",), ("e",)]
    assert [each.document for each in found] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("", 1, "no column word or token or words"),
        ("text,label\nVera left.,PERSON\n", 1, "CSV needs a word per row"),
        ("word,tag\na,O\n", 1, "nothing tells sentences apart (columns: word, tag)"),
        (PLAIN + "2,Peru\n", 5, "2 columns where the header has 3"),
        (
            PLAIN + "2, ,O\n",
            5,
            "is empty or invisible; remove it or write a placeholder",
        ),
        (PLAIN + "3,Peru,PLACE\n", 5, "'PLACE'"),
        (PLAIN + '3,"Peru,O\n', 5, "a quote opens in this row and is not closed"),
        (PLAIN + '3,"Peru,O\n3,is,O\n3,far",O\n', 5, "a quote opens a word and does not"),
        ("sentence,word,tag\n", 1, "no sentence in the file"),
    ],
)
def test_errors_say_where(file, content, where, what):
    path = file(content)
    with pytest.raises(DataError) as error:
        read_sentences(path)
    assert str(error.value).startswith(f"{path}:{where}: ")
    assert what in str(error.value)


def test_a_folder_of_csv_is_a_data_set(file, tmp_path, capsys, llama, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl("valid.jsonl", [{"tokens": ["Vera"], "ner_tags": ["B-PERSON"]}])
    file("text,label\nVera left.,PERSON\n", "train.csv")
    data = {"dataset": "."}
    recipe = {"model": {"backbone": str(llama)}, "data": data, "trainer": {"accelerator": "cpu"}}
    file(yaml.safe_dump(recipe), "mine.yaml")
    assert main(["fit", "--config", "mine.yaml"]) == 2
    said = capsys.readouterr().err
    assert "train.csv:1: a row is a text" in said
    assert "CSV needs a word per row" in said
    assert len(said.strip().splitlines()) <= 3


def test_blank_rows_end_sentences_where_only_documents_have_a_column(file):
    text = "doc,word,tag\nd1,Vera,B-PER\nd1,left,O\n\nd1,Lima,B-LOC\nd1,is,O\n\nd2,x,O\n"
    sentences = read_sentences(file(text))
    assert [each.words for each in sentences] == [("Vera", "left"), ("Lima", "is"), ("x",)]
    assert [each.document for each in sentences] == [0, 0, 1]


def test_a_row_that_cannot_be_used_takes_no_other_sentence_with_it(file):
    text = "sentence,word,tag\n1,Vera,B-PER\n1,left,O\n2,x\n2,Lima,B-LOC\n2,is,O\n"
    records = list(Inputs(str(file(text)), ReadOptions(tagged=False)).read())
    assert [(each.content, bool(each.reason)) for each in records] == [
        (("Vera", "left"), False),
        ("2,x", True),
    ]


def test_a_lone_quote_at_the_beginning_is_a_word(file):
    text = 'sentence,word,tag\n1,",O\n1,Vera,B-PER\n2,x,O\n'
    assert pairs(read_sentences(file(text))) == [(('"', "Vera"), ("O", "B-PER")), (("x",), ("O",))]
    with pytest.raises(DataError, match=r"a.csv:2: a quote opens in this row and is not closed"):
        list(Inputs(str(file('id,text\n1,"Vera left\n2,x y\n')), ReadOptions(tagged=False)).read())


def test_columns_that_are_named_are_those_of_words_and_tags(file):
    path = file("doc,w,t\nd1,Vera,B-PER\nd1,left,O\nd2,x,O\n")
    found = read_sentences(path, ReadOptions(words_column="w", tags_column="t", document_column="doc"))
    assert pairs(found) == [(("Vera", "left"), ("B-PER", "O")), (("x",), ("O",))]
