"""Files in, files out: every reader and writer, rejects, and going on after a stop."""

import csv
import datetime
import decimal
import io
import json
import re
import sys
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import taggers
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.commands.taggers import tagger_loading
from ner_lightning.data.readers import docbin, text_lines
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import numbered
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.running_text import from_text, from_words
from ner_lightning.data.writers import docbin_writer
from ner_lightning.errors import UserError
from ner_lightning.inference import bulk
from ner_lightning.inference.io.writers import marked

TEXTS = ["Vera Holt left Lima.", 'Okoro, of "Tollan Inc.", won\t6-4!', "Nobody in Oslo answered."]


@pytest.fixture
def predict(tagger, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder with a random tagger; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tagger_loading, "read_tagger", lambda *args, **kwargs: tagger)
    tagger.temperature = 1.0

    def call(*words, code=0):
        capsys.readouterr()
        assert main(["predict", *words]) == code
        return capsys.readouterr()

    return call


def records_in(name, **options):
    return list(Inputs(str(name), ReadOptions(tagged=False, **options)).read())


def contents(name, data, **options):
    Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
    return [(r.line, r.content, r.id) for r in records_in(name, **options) if not r.reason]


def test_texts_of_all_formats(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = "\ufeff" + "\r\n".join([TEXTS[0], " ", TEXTS[1]])
    assert contents("a.txt", lines) == [(1, TEXTS[0], None), (3, TEXTS[1], None)]
    assert contents("a.txt", lines, whole_files=True) == [(1, lines[1:], None)]
    assert contents("a", "x\u2028y") == [(1, "x\u2028y", None)]
    rows = [{"text": TEXTS[1], "id": 7}, {"tokens": ["Vera", "left"]}]
    jsonl = "\n\n".join(map(json.dumps, rows))
    assert contents("a.jsonl", jsonl) == [(1, TEXTS[1], 7), (3, ("Vera", "left"), None)]
    assert contents("a.json", '{"body": "x", "key": "k"}', words_column="body", id_column="key") == [
        (1, "x", "k")
    ]
    table = io.StringIO()
    csv.writer(table).writerows([["id", "text"], ["1", TEXTS[1]], ["2", "two\nlines"], ["3", "x"]])
    assert contents("a.csv", table.getvalue()) == [(2, TEXTS[1], "1"), (3, "two\nlines", "2"), (5, "x", "3")]
    pq.write_table(pa.table({"text": TEXTS, "id": [1, 2, 3]}), "a.parquet")
    found = [(r.line, r.content, r.id) for r in records_in("a.parquet")]
    assert found == [(n, text, n) for n, text in enumerate(TEXTS, 1)]
    columns = "# a comment line\nVera X O\nleft Y O\n\n-DOCSTART- X O\n\n# Y O\nwon X O\n"
    assert contents("a.conll", columns) == [(2, ("Vera", "left"), None), (7, ("#", "won"), None)]
    assert [r.starts_document for r in records_in("a.conll")] == [False, True]
    assert contents("b.conll", columns, words_column="1")[0][1] == ("X", "Y")


def test_columns_are_no_running_text(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    columns = "Vera B-PER\nHolt I-PER\nleft O\n\nNobody O\nanswered O\n"
    expected = [(1, ("Vera", "Holt", "left"), None), (5, ("Nobody", "answered"), None)]
    assert contents("test.txt", columns) == expected
    assert "test.txt: CoNLL columns separated by spaces: words in column 0" in caplog.text
    assert contents("test", "-DOCSTART- O\n\n" + columns) == [(n + 2, words, i) for n, words, i in expected]
    assert contents("test.txt", columns, format="txt")[0] == (1, "Vera B-PER", None)
    for text in ("Vera took vitamin B-12\nand left\n", "Plan O\n", "one word\nand O\nmore O\n"):
        assert [content for _, content, _ in contents("a.txt", text)] == text.splitlines()


def test_what_is_no_word_is_not_read_as_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wide = "# id 11aa\tdomain=en\nbrinda _ _ B-PER\nsang _ _ O\n\n# id 22bb\tdomain=en\ntarvo _ _ B-LOC\n"
    assert contents("a.conll", wide) == [(2, ("brinda", "sang"), None), (6, ("tarvo",), None)]
    index = "0\tBrinda\tB-PER\n1\tOkafor\tI-PER\n\n0\tNobody\tO\n"
    assert contents("a.conll", index) == [(1, ("Brinda", "Okafor"), None), (4, ("Nobody",), None)]
    assert contents("a.conll", index, words_column="0")[0][1] == ("0", "1")
    old = b"Brinda B-PER\rleft O\r\rTarvo B-LOC"  # line ends of an old Mac
    assert contents("a.conll", old) == [(1, ("Brinda", "left"), None), (4, ("Tarvo",), None)]
    assert contents("a.txt", b"\xef\xbb\xbfBrinda left.\rTarvo.\r") == [
        (1, "Brinda left.", None),
        (2, "Tarvo.", None),
    ]
    assert contents("a.txt", b"Brinda\rleft.\nTarvo.\n") == [(1, "Brinda\rleft.", None), (2, "Tarvo.", None)]


def test_binary_input_from_a_pipe(predict, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Vera left.\n".encode("utf-16-le"))))
    assert "-:1: this is UTF-16 text" in predict("--input", "-", "--output", "-", code=2).err


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "mark+utf-16-be"])
def test_text_with_a_byte_order_mark(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)

    def encoded(text):
        marked = "\ufeff" + text if encoding.startswith("mark") else text
        return marked.encode(encoding.removeprefix("mark+"))

    expected = [(1, "José left.", None), (2, "Tarvo.", None)]
    assert contents("a.txt", encoded("José left.\r\nTarvo.\r\n")) == expected
    assert contents("a.txt", encoded("José left.\nTarvo."), whole_files=True) == [
        (1, "José left.\nTarvo.", None)
    ]
    assert contents("a.jsonl", encoded('{"text": "José"}\n')) == [(1, "José", None)]
    assert contents("a.csv", encoded("text\nJosé\n"))[0][1] == "José"
    assert contents("a.conll", encoded("José O\nleft O\n")) == [(1, ("José", "left"), None)]


def test_text_with_brackets_is_what_a_txt_file_gets(predict, tagger):
    predict("--text", TEXTS[0], "--output", "out.txt", "--to", "text")
    assert Path("out.txt").read_text(encoding="utf-8") == marked(tagger(TEXTS[0]), {}) + "\n"


def test_the_speed_is_that_of_tagging_alone(predict, tagger, monkeypatch):
    def slow(*args, **kwargs):
        time.sleep(0.5)
        return tagger

    monkeypatch.setattr(tagger_loading, "read_tagger", slow)
    texts = taggers.texts() * 3
    Path("a.txt").write_text("\n".join(texts), encoding="utf-8")
    said = predict("--input", "a.txt", "--output", "out.jsonl").err
    words, loading = re.search(r", ([\d,]+) words, .*; loaded in ([\d.]+) s\)", said).groups()
    assert float(loading) >= 0.5
    monkeypatch.setattr(tagger_loading, "read_tagger", lambda *args, **kwargs: tagger)
    clock = iter(range(0, 10**6, 7))  # seconds
    monkeypatch.setattr(bulk.time, "monotonic", lambda: next(clock))
    said = predict("--input", "a.txt", "--output", "other.jsonl").err
    assert int(re.search(r"\(([\d,]+) words/s", said)[1]) == round(int(words) / 7)  # one block: 7 seconds


def test_a_folder_is_read_in_order_of_names(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/c.txt", "a.txt", ".hidden.txt", "notes.md"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert [(r.source, r.content) for r in records_in(tmp_path)] == [
        ("a.txt", "a.txt"),
        (str(Path("b", "c.txt")), "b/c.txt"),
    ]


REJECTED = {
    "a.txt": (b"good\nJos\xe9\ngood\n", [(2, "byte 0xe9 in column 4 is not UTF-8")]),
    "long.txt": (b"good\n" + b"x" * 300 + b"\ngood", [(2, "longer than")]),
    "a.jsonl": (
        b'{"text": "good"}\n{"text": 5}\n[]\n{"text": "\\ud800"}\n{"tokens": ["a", " "]}\n{"text": "good"}',
        [
            (2, "neither a text"),
            (3, "an empty JSON list"),
            (4, "half a character"),
            (5, "is empty or invisible"),
        ],
    ),
    "a.csv": (
        b'id,text\n1,good\n2\n3,"b"ad\n4,\xe9\n5,good\n',
        [(3, "1 columns"), (4, "not CSV"), (5, "UTF-8")],
    ),
    "a.conll": (b"good O\n\nbad\n\nbad O\n\xe9 O\n\ngood O\n", [(3, "1 columns"), (6, "not UTF-8")]),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_lines_are_noted_and_passed_over(predict, monkeypatch, name):
    monkeypatch.setattr(text_lines, "MAX_BYTES", 200)
    data, expected = REJECTED[name]
    Path(name).write_bytes(data)
    said = predict("--input", name, "--output", "out.jsonl")
    assert f"2 texts, 2 words, {len(expected)} left out" not in said.err
    assert f"; {len(expected)} left out: out.jsonl" in said.err
    noted = json_rows("out.jsonl.rejects.jsonl")
    assert [row["line"] for row in noted] == [line for line, _ in expected]
    assert all(reason in row["reason"] for row, (_, reason) in zip(noted, expected, strict=True))
    assert [
        row["text"] for row in map(json.loads, Path("out.jsonl").read_text(encoding="utf-8").splitlines())
    ] == ["good", "good"]
    line, reason = expected[0]
    said = predict("--input", name, "--output", "other.jsonl", "--strict", code=2)
    assert f"ner-lightning: {name}:{line}: " in said.err
    assert reason in said.err
    assert not list(Path().glob("other*"))
    said = predict("--input", name, "--output", "-").err
    assert "left out: standard output (" in said


def test_nothing_but_bad_lines_is_an_error(predict):
    Path("a.jsonl").write_text("no\n", encoding="utf-8")
    said = predict("--input", "a.jsonl", "--output", "out.csv", code=2).err
    assert "no text could be read" in said
    assert "a.jsonl:1: left out: not JSON" in said, "without opening another file"
    assert "(this one and any others: out.csv.rejects.jsonl)" in said
    assert "resumes after them" not in said, "nothing was kept"
    assert sorted(path.name for path in Path().iterdir()) == ["a.jsonl", "out.csv.rejects.jsonl"]


def written(predict, tagger, name, *words):
    Path("in.jsonl").write_text(
        "".join(json.dumps({"id": n, "text": t}) + "\n" for n, t in enumerate(TEXTS)), encoding="utf-8"
    )
    predict("--input", "in.jsonl", "--output", name, *words)
    assert sorted(p.name for p in Path().iterdir()) == sorted(["in.jsonl", name])
    return tagger(TEXTS)


def test_jsonl(predict, tagger):
    tagged = written(predict, tagger, "out.jsonl")
    rows = json_rows("out.jsonl")
    assert [(r["file"], r["line"], r["id"], r["text"]) for r in rows] == [
        ("in.jsonl", n + 1, n, text) for n, text in enumerate(TEXTS)
    ]
    for row, each in zip(rows, tagged, strict=True):
        for got, entity in zip(row["entities"], each.entities, strict=True):
            assert got.pop("score") == pytest.approx(entity.score, abs=2e-6)
            assert got == {k: v for k, v in entity._asdict().items() if k != "score"}
    assert any(row["entities"] for row in rows)


def test_words_keep_their_words(predict, tagger):
    Path("in.jsonl").write_text(json.dumps({"tokens": ["Vera", "Holt's", "."]}) + "\n", encoding="utf-8")
    row = json.loads(predict("--input", "in.jsonl", "--output", "-").out)
    assert row["words"] == ["Vera", "Holt's", "."]
    assert row["predicted"] == list(tagger(words=[row["words"]])[0].tags)


def test_csv(predict, tagger):
    tagged = written(predict, tagger, "out.csv")
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(n, entity) for n, each in enumerate(tagged) for entity in each.entities]
    assert [(r["id"], r["text"], r["label"]) for r in rows] == [
        (str(n), e.text, e.label) for n, e in expected
    ]
    assert [TEXTS[int(r["id"])][int(r["start"]) : int(r["end"])] for r in rows] == [
        e.text for _, e in expected
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_table_with_a_column_for_each_type(predict, tagger, name):
    tagged = written(predict, tagger, name, "--wide")
    if name == "out.csv":
        with Path(name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pq.read_table(name).to_pylist()
    assert list(rows[0]) == ["file", "line", "id", "text", "PER", "ORG", "LOC", "MISC"]
    assert [row["text"] for row in rows] == TEXTS
    for row, each in zip(rows, tagged, strict=True):
        for kind in tagger.labels.types:
            named = [entity.text for entity in each.entities if entity.label == kind]
            assert row[kind] == ("; ".join(named) if name == "out.csv" else named)


def test_parquet(predict, tagger):
    tagged = written(predict, tagger, "out.parquet")
    rows = pq.read_table("out.parquet").to_pylist()
    assert [row["text"] for row in rows] == TEXTS
    assert [[e["text"] for e in row["entities"]] for row in rows] == [
        [e.text for e in t.entities] for t in tagged
    ]


def test_conll(predict, tagger):
    tagged = written(predict, tagger, "out.conll")
    found = read_sentences("out.conll")
    assert [list(s.words) for s in found] == [words for each in tagged for words in each.document.words]
    assert [tag for s in found for tag in s.tags] == [tag for each in tagged for tag in each.tags]
    assert [s.document for s in found] == [n for n, each in enumerate(tagged) for _ in each.document.words]


def test_spacy_is_asked_for(predict, monkeypatch):
    monkeypatch.setattr(docbin, "find_spec", lambda name: None)
    Path("a.txt").write_text("Vera\n", encoding="utf-8")
    assert (
        "pip install 'ner-lightning[spacy]'" in predict("--input", "a.txt", "--output", "x.spacy", code=2).err
    )


def test_doc_bin(predict, tagger):
    import spacy

    tagged = written(predict, tagger, "out.spacy")
    docs = list(spacy.tokens.DocBin().from_disk("out.spacy").get_docs(spacy.vocab.Vocab()))
    assert [doc.text for doc in docs] == TEXTS
    assert [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in docs] == [
        [(e.start, e.end, e.label) for e in each.entities] for each in tagged
    ]


@pytest.mark.parametrize("text", ["", "  a  b\t\nc. ", "a\u200bb", " ", *TEXTS])
def test_tokens_give_the_text_again(text):
    document = from_text(text)
    tokens, token_of = docbin_writer._tokens(text, document.offsets)
    assert "".join(word + " " * space for word, space in tokens) == text
    assert [tokens[index][0] for index in token_of] == [word for words in document.words for word in words]


def test_marked_text(predict, tagger, monkeypatch):
    said = predict("--text", TEXTS[0]).out
    (tagged,) = tagger([TEXTS[0]])
    assert said == marked(tagged, {}) + "\n"
    for entity in tagged.entities:
        assert f"[{entity.label} {entity.text}]" in said
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = predict("--text", TEXTS[0]).out
    for entity in tagged.entities:  # the score is faint
        assert f"[{entity.label} {entity.text} \x1b[2m{entity.score:.3f}\x1b[22m]\x1b[0m" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert predict("--text", TEXTS[0]).out == said


def test_standard_input(predict, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Vera left.\n\nLima won.\n")))
    rows = [json.loads(line) for line in predict("--input", "-", "--output", "-").out.splitlines()]
    assert [(row["file"], row["line"], row["text"]) for row in rows] == [
        ("-", 1, "Vera left."),
        ("-", 3, "Lima won."),
    ]


def test_tokenized_text_is_cut_at_spaces_alone(predict):
    Path("a.txt").write_text("Vera Holt's team .\n", encoding="utf-8")
    predict("--input", "a.txt", "--tokenized", "--output", "out.conll")
    assert [s.words for s in read_sentences("out.conll")] == [("Vera", "Holt's", "team", ".")]


def test_tabs_separate_columns_of_tsv(predict):
    predict("--text", TEXTS[0], "--output", "out.tsv")
    predict("--text", TEXTS[0], "--output", "out.conll")
    assert Path("out.tsv").read_text("utf-8") == Path("out.conll").read_text("utf-8").replace(" ", "\t")


def test_calibration_from_the_command_line(predict, tagger):
    gold = tagger(words=[text.split() for text in taggers.texts()])
    with Path("gold.conll").open("w", encoding="utf-8") as file:
        for each in gold:
            file.writelines(f"{w} {t}\n" for w, t in zip(each.words, each.tags, strict=True))
            file.write("\n")
    said = predict("--calibrate", "gold.conll").out
    assert said.startswith("temperature 0.25")  # all is right, so probabilities cannot be too high
    assert "calibration error" in said
    row = json.loads(predict("--text", TEXTS[0], "--output", "-", "--calibrate", "gold.conll").out)
    tagger.temperature = 0.25
    assert [e["score"] for e in row["entities"]] == [round(e.score, 6) for e in tagger(TEXTS[0]).entities]


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.conll", "out.parquet"])
def test_a_stopped_command_goes_on_to_the_same_output(predict, tagger, monkeypatch, name):
    monkeypatch.setattr(bulk, "BLOCK_RECORDS", 4)
    lines = [*taggers.texts() * 3]
    lines.insert(2, "\udce9")
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    Path("in.txt").write_bytes(data)
    predict("--input", "in.txt", "--output", name)
    whole = Path(name).read_bytes()
    noted = Path(f"{name}.rejects.jsonl").read_bytes()
    Path(name).unlink()
    tag, calls = tagger.tag, []

    def stop_in_the_middle(*documents, **options):
        calls.append(1)
        if len(calls) == 4:
            raise Stopped
        return tag(*documents, **options)

    monkeypatch.setattr(tagger, "tag", stop_in_the_middle)
    with pytest.raises(Stopped):
        main(["predict", "--input", "in.txt", "--output", name])
    assert not Path(name).exists()
    with Path(f"{name}.partial").open("ab") as file:
        file.write(b"half a li")  # what a killed process may leave
    said = predict("--input", "in.txt", "--output", name, "--tokenized", code=2).err
    assert "started with different options or files (tokenized)" in said
    assert "--restart" in said
    calls.append(1)
    said = predict("--input", "in.txt", "--output", name).err
    assert "Resuming after 12 texts" in said
    assert Path(name).read_bytes() == whole
    assert Path(f"{name}.rejects.jsonl").read_bytes() == noted
    assert not list(Path().glob("*.partial*"))


def test_sentences_are_parts_of_their_document(tmp_path):
    def numbers(name, content):
        (tmp_path / name).write_bytes(content)
        records = records_in(tmp_path / name)
        return [number for _, number in numbered(records)]

    start = b"-DOCSTART- O\n\n"
    assert numbers("a.conll", start + b"a O\n\nb O\n\n" + start + b"c O\n\nd O\n") == [1, 1, 2, 2]
    # What cannot be read is not tagged: the next sentence opens its document. It parts none.
    assert numbers("b.conll", start + b"a O\n\n" + start + b"\xff O\n\nc O\n") == [1, 2, 3]
    assert numbers("c.conll", start + b"a O\n\n\xff O\n\nc O\n") == [1, 1, 1]
    rows = [{"words": ["a"], "document": place} for place in (0, 0, 1, 1)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    assert numbers("d.jsonl", lines) == [1, 1, 2, 2]
    assert numbers("e.jsonl", b'{"words": ["a"]}\n{"words": ["b"]}\n') == [1, 1]
    assert numbers("f.jsonl", b'{"text": "a"}\n{"text": "b"}\n') == [1, 2]
    assert numbers("g.txt", b"a\nb\n") == [1, 2]


@pytest.mark.parametrize("kind", ["text", "words"])
def test_documents_of_prediction_are_those_of_training(tmp_path, kind):
    places = ["x", "x", "y", None, None, "y", "y"] if kind == "text" else ["x", "x", "y", "z", "z"]
    row = {"text": "Vera left.", "spans": []} if kind == "text" else {"words": ["Vera"], "tags": ["O"]}
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({**row, "document": place}) + "\n" for place in places))
    records = records_in(path)
    trained = [sentence.document for sentence in read_sentences(str(path))]
    predicted = [number for _, number in numbered(records)]
    assert [a == b for a, b in pairwise(predicted)] == [a == b for a, b in pairwise(trained)]
    (block,) = bulk.blocks(iter(records))
    assert len(block) == len(places)


def test_words_given_as_one_sentence_stay_one():
    assert len(from_words(["Vera", ".", "Lima", "."]).sentences) == 1


def test_entities_of_a_probability_in_every_format(tagger, predict, monkeypatch):
    monkeypatch.setattr(tagger, "selection", None)
    Path("in.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    words = ("--input", "in.txt", "--min_score", "0.05", "--min_score", "LOC=0.2")
    least = {"*": 0.05, "LOC": 0.2}
    kept = tagger(TEXTS, min_score=least, overlaps="keep")
    assert any(each.overlapping for each in kept)
    expected = [each.entity_dicts() for each in kept]
    flat = [row for rows in expected for row in rows]

    said = predict(*words, "--overlaps", "keep", "--output", "out.jsonl").err
    assert f"{len(flat):,} entities" in said
    rows = json_rows("out.jsonl")
    assert [row["entities"] for row in rows] == expected
    predict(*words, "--overlaps", "keep", "--output", "out.csv")
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["overlaps"] for row in table] == [str(row["overlaps"]).lower() for row in flat]
    assert [float(row["score"]) for row in table] == [row["score"] for row in flat]
    predict(*words, "--overlaps", "keep", "--output", "out.parquet")
    assert [row["entities"] for row in pq.read_table("out.parquet").to_pylist()] == expected
    shown = predict(*words, "--overlaps", "keep").out
    for each in kept:
        lines = "".join(f"    [{e.label} {e.text}] {e.score:.4f}\n" for e in each.overlapping)
        assert marked(each, {}) + "\n" + lines in shown

    resolved = [each.to_dict() for each in tagger(TEXTS, min_score=least, overlaps="resolve")]
    predict(*words, "--output", "out.jsonl")
    rows = json_rows("out.jsonl")
    assert [row["entities"] for row in rows] == [each["entities"] for each in resolved]
    predict(*words, "--output", "out.conll")
    tags = [line.split()[1] for line in Path("out.conll").read_text(encoding="utf-8").splitlines() if line]
    assert tags == [tag for each in resolved for tag in each["tags"]]


def test_other_probabilities_do_not_resume_an_output(tagger, predict, monkeypatch):
    monkeypatch.setattr(tagger, "selection", None)
    monkeypatch.setattr(bulk, "BLOCK_RECORDS", 1)
    Path("in.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    real = tagger.tag
    calls = []

    def stops(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(tagger, "tag", stops)
    words = ("--input", "in.txt", "--output", "out.jsonl")
    predict(*words, "--min_score", "0.3", code=130)
    assert "different options or files (min_score)" in predict(*words, "--min_score", "0.2", code=2).err
    assert "(overlaps)" in predict(*words, "--min_score", "0.3", "--overlaps", "keep", code=2).err
    predict(*words, "--min_score", "0.3")
    rows = json_rows("out.jsonl")
    alone = [tagger([text], min_score=0.3) for text in TEXTS]  # as blocks of one are
    assert [row["entities"] for row in rows] == [e.to_dict()["entities"] for (e,) in alone]


def test_a_type_that_the_tagger_does_not_have(tagger, predict, monkeypatch):
    monkeypatch.setattr(tagger, "selection", None)
    said = predict("--text", "Vera left.", "--min_score", "0.3", "--min_score", "PERSON=0.5", code=2).err
    assert "names PERSON; the entity types are PER, ORG, LOC, MISC" in said


def records_of(path):
    return Inputs(str(path), ReadOptions(id_column="id", tagged=False))


def test_linked_folders_are_read_once_and_broken_links_are_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in/a.txt").write_text("Lima", encoding="utf-8")
    (tmp_path / "elsewhere/x.txt").write_text("Oslo", encoding="utf-8")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/again").symlink_to(tmp_path / "in")
    assert [record.content for record in records_of(tmp_path / "in").read()] == ["Lima", "Oslo"]
    (tmp_path / "in/b.txt").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"b\.txt: cannot be read: it is a link to nowhere"):
        records_of(tmp_path / "in").files()


def test_how_many_files_of_a_folder_are_read_is_said_of_the_first_ones(tmp_path, caplog):
    caplog.set_level("INFO", "ner_lightning")
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text("Lima", encoding="utf-8")
    assert len(list(records_of(tmp_path).read())) == 9
    said = [record.message for record in caplog.records]
    assert said[:3] == [f"{number}.txt: running text, a text per line." for number in range(3)]
    assert said[3:] == ["3.txt and others: running text, a text per line."]


def test_a_quote_that_is_not_closed_is_an_error_where_it_opens(tmp_path):
    rows = "".join(f"{number},Vera left Lima.\n" for number in range(100))
    file = tmp_path / "a.csv"
    file.write_text('id,text\n1,Lima\n5,"Vera said hi\n' + rows, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.csv:3: a quote opens in this row and is not closed"):
        list(records_of(file).read())


def test_ids_that_json_does_not_have_become_text(tmp_path):
    day = datetime.datetime(2024, 1, 2)
    for values, expected in (
        ([day, None], ["2024-01-02 00:00:00", None]),
        ([decimal.Decimal("1.50")], ["1.50"]),
        ([b"a\xff"], ["a\\xff"]),
        ([float("nan"), 2.5], [None, 2.5]),
    ):
        table = pa.table({"id": pa.array(values), "text": ["Vera"] * len(values)})
        pq.write_table(table, tmp_path / "a.parquet")
        assert [record.id for record in records_of(tmp_path / "a.parquet").read()] == expected
