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


@pytest.mark.parametrize("name", ["NE", "Entity Type"])
def test_names_of_tags_in_headers(file, name):
    assert pairs(read_sentences(file(PLAIN.replace("tag", name)))) == WANTED


@pytest.mark.parametrize("between", [",", ";", ", "])
@pytest.mark.parametrize("suffix", ["txt", "conll", "dat"])
def test_columns_between_commas_are_a_table_whatever_the_name(file, between, suffix):
    rows = "Vera,B-PERSON\nleft,O\n\nLima,B-PLACE\n".replace(",", between)
    path = file(rows, f"x.{suffix}")
    with pytest.raises(DataError, match="the first row is no header: "):
        read_sentences(path)
    assert pairs(read_sentences(path, ReadOptions(words_column="0", tags_column="1"))) == WANTED
    assert pairs(read_sentences(file(f"word{between}tag\n{rows}", f"y.{suffix}"))) == WANTED


@pytest.mark.parametrize("end", [" ", "\u200b", "\u00a0"], ids=ascii)
def test_blanks_around_cells_are_no_part_of_them(file, caplog, end):
    spaced = (
        PLAIN.replace("Vera", " Vera ").replace("B-PERSON", f" B-PERSON{end}").replace(",O\n", f",O{end}\n")
    )
    assert pairs(read_sentences(file(spaced))) == WANTED
    assert "2 tags such as " in caplog.text
    assert pairs(read_sentences(file(PLAIN.replace(",", ", ")))) == WANTED


@pytest.mark.parametrize("row", ["{}Tarvo,B-PLACE,3\n", '{}"Tarvo",B-PLACE,3\n'])
def test_a_byte_order_mark_at_the_start_of_a_row_is_none_of_its_word(file, row):
    rows = "word,tag,sentence\nVera,B-PERSON,1\nleft,O,1\n" + row.format("\ufeff")
    assert read_sentences(file(rows))[1].words == ("Tarvo",)


def test_a_byte_order_mark_within_a_text_stays(file):
    rows = 'text,entities\n"\ufeffVera\n\ufeffleft",[]\n\ufeff"Lima","[[0,4,""LOC""]]"\n'
    texts = [record.content for record in Inputs(str(file(rows)), ReadOptions()).read()]
    assert texts == ["\ufeffVera\n\ufeffleft", "Lima"]


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


@pytest.mark.parametrize(
    "name", ["Sentence ID", "sent_no", "sentence-number", "SentenceID", "Sent. #", "sent", "Sent Idx", "#"]
)
@pytest.mark.parametrize("suffix", ["csv", "txt", "tsv"])
def test_names_of_sentences_are_known_however_they_are_spelled(file, name, suffix):
    rows = "1,1,a,O\n1,1,b,O\n1,2,c,O\n2,1,d,O\n"
    text = f"Doc ID,{name},Word,NER Tag\n{rows}"
    path = file(text.replace(",", "\t") if suffix == "tsv" else text, f"a.{suffix}")
    if name == "#" and suffix == "csv":
        assert [each.words for each in read_sentences(path)] == [("a", "b", "c"), ("d",)]
    elif name != "#":
        found = read_sentences(path)
        assert [each.words for each in found] == [("a", "b"), ("c",), ("d",)]
        assert [each.document for each in found] == [0, 0, 1]


@pytest.mark.parametrize(
    ("header", "blank", "said"),
    [
        ("sent_no,doc,word,tag", "", "; a sentence ends where column sent_no or doc changes."),
        ("page,doc,word,tag", "\n", "; a sentence ends at a blank row or where column doc changes."),
        ("page,line,word,tag", "\n", "; a sentence ends at a blank row."),
        ("page,doc,word,tag", "", "each document is one sentence, since there is no blank row and no column"),
    ],
)
def test_it_is_said_where_sentences_end(file, caplog, header, blank, said):
    caplog.set_level("INFO")
    read_sentences(file(f"{header}\n1,1,a,O\n1,1,b,O\n{blank}2,2,c,O\n"))
    assert said in caplog.text
    assert ("each document is one sentence" in caplog.text) is said.startswith("each")


def test_sentence_ids_that_recur_are_counted(file, caplog):
    read_sentences(file("sentence_id,word,tag\n1,a,O\n2,b,O\n1,c,O\n2,d,O\n1,e,O\n"))
    assert "a.csv: 3 sentence ids recur after another one and begin new sentences" in caplog.text
    assert "'1' (line 4), '2' (line 5)" in caplog.text
    caplog.clear()
    read_sentences(file("doc,sentence_id,word,tag\nd,1,a,O\n,2,b,O\n\n,,b,O\ne,1,c,O\ne,2,d,O\n"))
    assert "recur" not in caplog.text


def test_a_first_row_with_a_tag_is_data_where_columns_have_numbers(file):
    text = "Vera,B-PER\nHolt,I-PER\nleft,O\n\nLima,B-LOC\n"
    asked = ReadOptions(words_column="0", tags_column="1")
    found = read_sentences(file(text), asked)
    assert pairs(found) == [(("Vera", "Holt", "left"), ("B-PER", "I-PER", "O")), (("Lima",), ("B-LOC",))]
    assert [each.line for each in found] == [1, 5]
    untagged = read_sentences(file(text), ReadOptions(words_column="0", tagged=False))
    assert [each.words for each in untagged] == [each.words for each in found]
    bare = file("x,person\ny,O\n\nz,person\n")
    assert read_sentences(bare, asked)[0].words == ("x", "y")
    headed = file("w,t\n" + text)
    assert pairs(read_sentences(headed, asked)) == pairs(found)
    assert read_sentences(file("7,Vera,B-PER\n8,Lima,B-LOC\n"), ReadOptions(None, "1", "2", "0"))[1].line == 2
    wrong = file(text.replace("left,O", "left,x,O"))
    with pytest.raises(DataError, match=r"a.csv:3: 3 columns where the header has 2"):
        read_sentences(wrong, asked)


def test_without_a_header_numbers_are_asked_for(file):
    with pytest.raises(DataError, match=r"a.csv:1: the first row is no header: 'B-PER' is a tag;\nadd one"):
        read_sentences(file("Vera,B-PER\nleft,O\n\nLima,B-LOC\n"))


@pytest.mark.parametrize("separator", [";", ",", "\t", "|", ":"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
@pytest.mark.parametrize("line", ["sep={}\n", '"sep={}"\r\n', "\ufeffSEP={}\n"])
def test_a_first_line_may_name_the_separator(file, separator, name, line):
    path = file(line.format(separator) + PLAIN.replace(",", separator), name)
    assert pairs(read_sentences(path)) == WANTED
    assert [each.line for each in read_sentences(path)] == [3, 5]
    with pytest.raises(DataError, match=r"6: 2 columns where the header has 3"):
        read_sentences(file(line.format(separator) + PLAIN.replace(",", separator) + f"2{separator}x\n"))


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a"])
def test_vertical_bars_separate_columns_where_nothing_else_does(file, name):
    assert pairs(read_sentences(file(PLAIN.replace(",", "|").replace("Lima", "Li,ma"), name))) == [
        WANTED[0],
        (("Li,ma",), ("B-PLACE",)),
    ]
    assert read_sentences(file("sentence,word,a|b,tag\n1,x,y,O\n"))[0].words == ("x",)


@pytest.mark.parametrize("header", ["text,labels", "tokens,ner_tags", "id,Content,NER"])
def test_tags_between_spaces_stand_beside_a_text(file, header):
    first = "1," * header.count("id")
    rows = f"{first}Vera Holt left,B-per I-per O\n{first}Lima fell,B-geo O\n"
    found = read_sentences(file(f"{header}\n{rows}"))
    first_words, second_words = ("Vera", "Holt", "left"), ("Lima", "fell")
    assert pairs(found) == [(first_words, ("B-per", "I-per", "O")), (second_words, ("B-geo", "O"))]
    with pytest.raises(DataError, match=r"a.csv:4: 2 words but 3 tags; write one tag per word"):
        read_sentences(file(f"{header}\n{rows}{first}Vera left,O O O\n{first}He left,O O\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "text,label\nVera left.,PER\nHe left it.,O\n",
            "has no tag for each of its words (words: 2, tags: 1)",
        ),
        ("text,other\nVera left.,PER\n", "a row is a text (column text), without a tag for each word;"),
        ("sentence,text,tag\n1,Vera,B-PER\n1,left,O\n", "column text has one word in each row"),
        ("tokens,tags\n['a' 'b' ... 'z'],['O' 'O' ... 'O']\n", "numpy leaves out the middle of a long one"),
    ],
)
def test_a_refusal_of_texts_is_true(file, content, said):
    with pytest.raises(DataError) as error:
        read_sentences(file(content))
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


SPANS = [
    '[{"start": 0, "end": 9, "text": "Vera Holt", "labels": ["PER"]}]',  # Label Studio
    '[{"start": 0, "end": 9, "label": "PER"}]',
    '[[0, 9, "PER"]]',
    "[(0, 9, 'PER')]",  # pandas
    "[{'start': 0, 'end': 9, 'label': 'PER'}]",
]


@pytest.mark.parametrize("cell", SPANS)
@pytest.mark.parametrize("name", ["label", "entities", "Spans"])
@pytest.mark.parametrize("empty", ["", "[]"])
def test_spans_in_cells_are_read(file, cell, name, empty):
    quoted = cell.replace('"', '""')
    text = f'id,text,{name}\n1,"Vera Holt left.","{quoted}"\n2,"He, too.",{empty}\n'
    found = read_sentences(file(text))
    assert pairs(found) == [
        (("Vera", "Holt", "left", "."), ("B-PER", "I-PER", "O", "O")),
        (("He", ",", "too", "."), ("O",) * 4),
    ]
    assert [each.document for each in found] == [0, 1]
    untagged = read_sentences(file(text), ReadOptions(tagged=False))
    assert [each.words for each in untagged] == [each.words for each in found]


@pytest.mark.parametrize("cell", ["[(0, 4, PER)]", "[(0, 40, 'PER')]", "[(0, 4)]", "[{'start': {1}}]", "PER"])
def test_spans_that_cannot_be_read_are_refused_by_their_line(file, cell):
    with pytest.raises(DataError, match=r"a.csv:3: "):
        read_sentences(file(f'text,label\nVera left.,"[(0, 4, \'PER\')]"\nVera left.,"{cell}"\n'))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_may_end_in_lf_crlf_or_cr(file, end, last):
    rows = ["sentence,word,tag", "1,Vera,B-PER", '1,"a""b",O', "2,Lima,B-LOC", '2,",",O']
    path = file(end.join(rows) + end * last)
    expected = [(("Vera", 'a"b'), ("B-PER", "O")), (("Lima", ","), ("B-LOC", "O"))]
    assert pairs(read_sentences(path)) == expected
    if end != "\r":
        path = file(end.join(rows).replace("Vera", "Ve\rra"))
        assert read_sentences(path)[0].words == ("Ve\rra", 'a"b')
