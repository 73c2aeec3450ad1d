"""`ner-lightning data convert` and `data split`: what they write, say and refuse, without torch."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import label_studio
import pyarrow.parquet as pq
import pytest
import tiny
from shared import json_rows

from ner_lightning.commands.data_actions.data_facts import read_splits
from ner_lightning.commands.main import main
from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.writers.output_formats import ANNOTATED, SUFFIX_OF

COLUMNS = "Brinda B-PER\nOkafor I-PER\nmoved O\nto O\nTarvo B-LOC\n. O\n\nNobody O\nwrote O\n. O\n"
WORDS = [("Brinda", "Okafor", "moved", "to", "Tarvo", "."), ("Nobody", "wrote", ".")]
TAGS = [("B-PER", "I-PER", "O", "O", "B-LOC", "O"), ("O", "O", "O")]
TEXT = {
    "id": 7,
    "text": "Brinda Okafor moved to Tarvo. Nobody wrote.",
    "label": [[0, 13, "PER"], [23, 28, "LOC"]],
}
COUNTED = "2 sentences, 9 words, 2 entities (PER 1, LOC 1)"


@pytest.fixture
def columns_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("a.conll", COLUMNS)
    capsys.readouterr()
    return tmp_path


def write(name, content):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def done(capsys, *args):
    """What a command says that works; its standard output stays empty."""
    assert main(["data", *args]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def refused(capsys, *args):
    assert main(["data", *args]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if not line.startswith(("Reading", "CoNLL"))]
    assert "Traceback" not in said.err
    assert len(lines) <= 4, said.err
    return said.err


def made(name):
    found = read_sentences(name)
    return [s.words for s in found], [s.tags for s in found]


# Converting


def test_sizes_are_in_the_singular_where_they_are_one(columns_folder, capsys):
    write("one.conll", "Lima B-LOC\n")
    assert "1 sentence, 1 word, 1 entity (LOC 1): one.jsonl" in done(
        capsys, "convert", "one.conll", "--output", "one.jsonl"
    )


@pytest.mark.parametrize(
    ("output", "format", "field"),
    [
        ("b.jsonl", "lines of JSON", "tokens"),
        ("b.ndjson", "lines of JSON", "tokens"),
        ("b.conll", "columns", "Brinda B-PER"),
        ("b.json", "lines of JSON", "tokens"),
        ("b.tsv", "columns", "Brinda\tB-PER"),
        ("b.bio", "columns", "Brinda B-PER"),
        ("b.iob2", "columns", "Brinda B-PER"),
        ("b.csv", "a table", "1,1,Brinda,B-PER"),
        ("B.CSV", "a table", "1,1,Brinda,B-PER"),
    ],
)
def test_the_name_of_the_output_says_its_format(columns_folder, capsys, output, format, field):
    said = done(capsys, "convert", "a.conll", "--output", output)
    assert field in Path(output).read_text()
    assert f"{COUNTED}: {output}" in said
    assert "a.conll: CoNLL columns separated by spaces: words in column 0, tags in column 1" in said
    assert made(output) == (WORDS, TAGS)


@pytest.mark.parametrize("output", ["b.parquet", "b.spacy"])
def test_binary_outputs(columns_folder, capsys, output):
    done(capsys, "convert", "a.conll", "--output", output)
    assert made(output) == (WORDS, TAGS)
    if output == "b.parquet":
        assert pq.read_table(output).column_names == ["tokens", "ner_tags", "document"]


@pytest.mark.parametrize("format", ["doccano", "labelstudio", "prodigy"])
@pytest.mark.parametrize("output", ["b.json", "b.jsonl", "b.any"])
def test_formats_of_annotation_tools_are_named(columns_folder, capsys, format, output):
    write("t.jsonl", json.dumps(TEXT) + "\n")
    done(capsys, "convert", "t.jsonl", "--output", output, "--to", format)
    found = read_sentences(output)
    if format == "labelstudio":
        assert not label_studio.errors_of(json.loads(Path(output).read_text()), ["PER", "LOC", "ORG", "MISC"])
    assert [s.words for s in found] == WORDS
    assert [s.tags for s in found] == TAGS
    assert {s.within.text for s in found} == {TEXT["text"]}
    if format != "prodigy":
        assert {s.within.id for s in found} == {7}


@pytest.mark.parametrize("output", ["b", "b.xlsx", "b.conllu", "b.ann"])
def test_an_output_of_no_format_is_refused(columns_folder, capsys, output):
    said = refused(capsys, "convert", "a.conll", "--output", output)
    assert f"--output {output} ends in none of" in said
    assert f"--to ({', '.join(ANNOTATED)})" in said
    assert not Path(output).exists()


def test_columns_in_a_txt_file_are_asked_for(columns_folder, capsys):
    said = refused(capsys, "convert", "a.conll", "--output", "b.txt")
    assert "b.txt: .txt may mean columns or text;\nsay which: --to conll (columns)\n" in said
    assert not Path("b.txt").exists()
    done(capsys, "convert", "a.conll", "--output", "b.txt", "--to", "conll")
    assert made("b.txt") == (WORDS, TAGS)


def test_an_existing_output_is_overwritten_only_if_asked_for(columns_folder, capsys):
    write("b.jsonl", "mine")
    said = refused(capsys, "convert", "a.conll", "--output", "b.jsonl")
    assert "--output b.jsonl exists; move it away, or write over it with --overwrite" in said
    assert Path("b.jsonl").read_text() == "mine"
    done(capsys, "convert", "a.conll", "--output", "b.jsonl", "--overwrite")
    assert made("b.jsonl") == (WORDS, TAGS)


@pytest.mark.parametrize("output", ["a.conll", "./a.conll", "link.conll"])
def test_what_is_read_is_never_overwritten(columns_folder, capsys, output):
    os.link("a.conll", "link.conll")
    said = refused(capsys, "convert", "a.conll", "--output", output, "--overwrite")
    assert f"--output {output.removeprefix('./')} is what is read; name another one" in said
    assert Path("a.conll").read_text() == COLUMNS


def test_several_inputs_are_joined_with_documents_of_their_own(columns_folder, capsys):
    write("b.jsonl", json.dumps({"tokens": ["Vera"], "ner_tags": ["B-PER"]}) + "\n")
    write("more/c.csv", "document,sentence,word,tag\nx,1,Lima,B-LOC\ny,1,Oslo,B-LOC\n")
    said = done(capsys, "convert", "a.conll", "b.jsonl", "more", "--output", "all.csv")
    found = read_sentences("all.csv")
    assert [s.words for s in found] == [*WORDS, ("Vera",), ("Lima",), ("Oslo",)]
    assert [s.document for s in found] == [0, 0, 1, 2, 3]
    assert "5 sentences, 12 words, 5 entities (LOC 3, PER 2): all.csv" in said


@pytest.mark.parametrize(
    "names",
    [
        ["train.txt", "valid.txt", "test.txt"],
        [
            "data/train-00000-of-00002.txt",
            "data/train-00001-of-00002.txt",
            "data/validation-00000-of-00001.txt",
        ],
        ["eng.train", "eng.testa"],
    ],
)
def test_splits_are_not_joined_unless_each_is_named(columns_folder, capsys, names):
    for name in names:
        write(f"set/{name}", COLUMNS)
    for words in (["convert", "set", "--output", "all.jsonl"], ["split", "set", "--output", "out"]):
        said = refused(capsys, *words)
        assert "set has files of several splits (" in said
        assert "to join them, name each: ner-lightning data convert A B --output all.jsonl" in said
    assert not Path("all.jsonl").exists()
    done(capsys, "convert", *(f"set/{name}" for name in names), "--output", "all.jsonl")
    assert len(made("all.jsonl")[0]) == 2 * len(names)


def test_shards_are_one_input(columns_folder, capsys):
    for number in range(2):
        write(f"train-0000{number}-of-00002.txt", many(30) if number else many(60))
    done(capsys, "split", "train-*-of-00002.txt", "--output", "out")
    assert sum(map(len, parts("out").values())) == 90
    write("out2/train-00000-of-00002.txt", COLUMNS)
    said = refused(capsys, "split", "train-*-of-00002.txt", "--output", "out2", "--overwrite")
    assert "train-*-of-00002.txt there would be read as a split beside the new ones" in said
    assert Path("out2/train-00000-of-00002.txt").exists()


def test_a_folder_without_splits_is_checked_as_nothing(columns_folder, capsys):
    write("set/a.conll", COLUMNS)
    write("set/README.txt", "About.")
    said = refused(capsys, "check", "set")
    assert "set: no train, valid or test file in this folder (it has README.txt, a.conll);" in said
    assert "ner-lightning data split set --output DIR" in said


def test_a_check_has_the_splits_in_their_order(columns_folder, capsys):
    for name in ("eng.testa", "eng.testb", "eng.train"):
        write(f"set/{name}", many())
    main(["data", "check", "set", "--json"])
    assert list(json.loads(capsys.readouterr().out)["origins"]) == ["train", "valid", "test"]


def test_standard_input_is_read(columns_folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(COLUMNS.encode())))
    done(capsys, "convert", "-", "--output", "b.jsonl")
    assert made("b.jsonl") == (WORDS, TAGS)


@pytest.mark.parametrize("options", [[], ["--from", "conll"]])
def test_standard_input_may_be_a_pipe(columns_folder, options):
    command = [sys.executable, "-m", "ner_lightning", "data", "convert", "-", "--output", "b.csv", *options]
    made_ = subprocess.run(
        command, input=COLUMNS, capture_output=True, text=True, check=False, env=environment()
    )
    assert (made_.returncode, made_.stdout) == (0, ""), made_.stderr
    assert made("b.csv") == (WORDS, TAGS)


@pytest.mark.parametrize(
    ("content", "name", "options", "said"),
    [
        (COLUMNS.replace("B-LOC", "B:LOC"), "x.conll", [], "x.conll:5: malformed tag 'B:LOC'"),
        ("a B-A O\nb O B-B\n", "x.conll", [], "name one as --tags_column"),
        ("a O\nb B-x,B-y\n", "x.conll", [], "x.conll:2: 'B-x,B-y' contains two tags"),
        ("a O\n\u200b O\n", "x.conll", [], "x.conll:2: word '\\u200b' is empty or invisible"),
        ("Brinda left Tarvo.\n", "x.txt", [], "x.txt:1: this is running text, without tags"),
        ('{"tokens": ["a"], "ner_tags": [1]}', "x.jsonl", [], "--tag_names O,B-PER,I-PER"),
        ('{"tokens": ["a"], "ner_tags": [1]}', "x.jsonl", ["--tag_names", "O,B:X"], "'B:X' is not a tag"),
        ("", "x.conll", [], "x.conll:1: no sentence in the file"),
        (b"PK\x03\x04", "x.conll", [], "x.conll:1: this is a zip archive"),
        ("a O\n", "x.conll", ["--words_column", "5"], "x.conll:1: too few columns"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_written(
    columns_folder, capsys, content, name, options, said
):
    write(name, content)
    assert said in refused(capsys, "convert", name, "--output", "out.jsonl", *options)
    assert not Path("out.jsonl").exists()


def test_a_missing_input(columns_folder, capsys):
    assert "none.conll: cannot be read" in refused(capsys, "convert", "none.conll", "--output", "b.jsonl")


def test_an_output_in_a_folder_that_is_not_there(columns_folder, capsys):
    assert "--output no/b.jsonl: " in refused(capsys, "convert", "a.conll", "--output", "no/b.jsonl")


@pytest.mark.parametrize(
    ("content", "name", "options", "words", "tags"),
    [
        ("a O\nb B-x,B-y\n", "x.conll", ["--several_tags", "first"], ("a", "b"), ("O", "B-x")),
        ("a O\n\u200b O\nb B-x\n", "x.conll", ["--empty_words", "skip"], ("a", "b"), ("O", "B-x")),
        ("a B-A O\nb O B-B\n", "x.conll", ["--tags_column", "1"], ("a", "b"), ("B-A", "O")),
        ("x a O\ny b B-A\n", "x.conll", ["--words_column", "0"], ("x", "y"), ("O", "B-A")),
        (
            '{"tokens": ["a", "b"], "ner_tags": [0, 1]}',
            "x.jsonl",
            ["--tag_names", "O,B-A"],
            ("a", "b"),
            ("O", "B-A"),
        ),
        (
            '{"text": "a bc", "label": [[2, 3, "A"]]}',
            "x.jsonl",
            ["--misaligned", "expand"],
            ("a", "bc"),
            ("O", "B-A"),
        ),
        (
            '{"text": "a b", "label": [[0, 3, "A"], [2, 3, "B"]]}',
            "x.jsonl",
            ["--overlapping", "longest"],
            ("a", "b"),
            ("B-A", "I-A"),
        ),
    ],
)
def test_options_say_how_a_file_is_read(columns_folder, capsys, content, name, options, words, tags):
    write(name, content)
    done(capsys, "convert", name, "--output", "out.jsonl", *options)
    assert made("out.jsonl") == ([words], [tags])


def test_documents_come_from_a_named_column(columns_folder, capsys):
    write("x.conll", "l1 a O\n\nl1 b O\n\nl2 c B-A\n")
    done(capsys, "convert", "x.conll", "--output", "out.conll", "--document_column", "0")
    assert Path("out.conll").read_text() == "-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART- O\n\nc B-A\n\n"


def test_what_columns_cannot_hold_is_said(columns_folder, capsys):
    write("x.jsonl", json.dumps({"tokens": ["a\tb", "-DOCSTART-", "c d"], "ner_tags": ["O", "O", "B-A"]}))
    said = done(capsys, "convert", "x.jsonl", "--output", "out.conll")
    assert "cannot be written in columns: 2 words are changed" in said
    assert made("out.conll") == ([("a_b", "_DOCSTART_", "c d")], [("O", "O", "B-A")])


# Splitting


def many(count=60, per_document=1):
    blocks = []
    for number in range(count):
        mark = "-DOCSTART- O\n\n" if per_document > 1 and number % per_document == 0 else ""
        kind = "B-PER" if number % 3 else "B-LOC"
        # Words of their own: sentences that differ in numbers alone are near-duplicates.
        word = chr(0x4E00 + number)
        blocks.append(f"{mark}{word} {kind}\n" + "".join(f"{word}{k} O\n" for k in "vwxyz"))
    return "\n".join(blocks) + "\n"


def parts(folder, suffix=".conll", names=("train", "valid", "test")):
    return {name: [s.words for s in read_sentences(Path(folder) / f"{name}{suffix}")] for name in names}


def test_a_split_is_a_partition_in_the_order_of_the_file(columns_folder, capsys):
    write("all.conll", many())
    said = done(capsys, "split", "all.conll", "--output", "out")
    found = parts("out")
    everything = [s.words for s in read_sentences("all.conll")]
    assert sorted(words for part in found.values() for words in part) == sorted(everything)
    for name, part in found.items():
        assert part == [words for words in everything if words in part]
        assert f"{len(part)} sentences, {6 * len(part)} words, " in said
        assert f": out/{name}.conll" in said
    assert [len(part) for part in found.values()] == [48, 6, 6]
    assert "train 48, valid 6, test 6 sentences; sentence by sentence" in said


def test_a_split_is_the_same_each_time_and_another_with_another_seed(columns_folder, capsys):
    write("all.conll", many())
    for folder, seed in (("one", "1"), ("two", "1"), ("three", "2")):
        done(capsys, "split", "all.conll", "--output", folder, "--seed", seed)
    assert parts("one") == parts("two")
    assert parts("one") != parts("three")


def test_documents_stay_whole(columns_folder, capsys):
    write("all.conll", many(per_document=4))
    said = done(capsys, "split", "all.conll", "--output", "out")
    assert "15 documents stay whole" in said
    numbers = [{(ord(words[0]) - 0x4E00) // 4 for words in part} for part in parts("out").values()]
    assert sum(map(len, numbers)) == len(set.union(*numbers)) == 15


def one_text(count=20):
    """A text of paragraphs, each a sentence with a person."""
    text, entities = "", []
    for number in range(count):
        name = "Brinda" + chr(0x4E00 + number)
        entities.append([len(text), len(text) + len(name), "PER"])
        text += f"{name} has seen the tower of {chr(0x5E00 + number)} today.\n\n"
    return text, entities


@pytest.mark.parametrize("format", ["doccano", "labelstudio", "prodigy", "spacy", "jsonl", "conll"])
def test_a_text_that_is_divided_is_cut(columns_folder, capsys, format):
    text, entities = one_text()
    write("all.jsonl", json.dumps({"text": text, "label": entities}) + "\n")
    done(capsys, "split", "all.jsonl", "--output", "out", "--to", format)
    suffix = SUFFIX_OF[format]
    found = parts("out", suffix)
    everything = read_sentences("all.jsonl")
    assert sorted(words for part in found.values() for words in part) == sorted(s.words for s in everything)
    marked = [s for name in found for s in read_sentences(f"out/{name}{suffix}")]
    assert all(sentence.tags[0] == "B-PER" for sentence in marked)
    assert min(map(len, found.values())) > 0
    if format == "doccano":
        rows = json_rows("out/test.jsonl")
        assert [row["text"][a:b][:6] for row in rows for a, b, _ in row["label"]] == ["Brinda"] * len(rows)
        assert all(len(row["text"]) < 60 for row in rows)


def test_whole_texts_stay_as_they_are(columns_folder, capsys):
    texts = [one_text(2), *((f"Nobody {chr(0x6E00 + n)} left. It rained.", []) for n in range(20))]
    rows = [{"id": n, "text": text, "label": label} for n, (text, label) in enumerate(texts)]
    write("all.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    done(capsys, "split", "all.jsonl", "--output", "out")
    lines = [
        line
        for name in ("train", "valid", "test")
        for line in Path(f"out/{name}.jsonl").read_text().splitlines()
    ]
    assert sorted((json.loads(line) for line in lines), key=lambda row: row["id"]) == rows


def test_equal_texts_of_one_line_each_stay_apart(columns_folder, capsys):
    """NER Annotator writes an object with all its texts; several are lines of a file."""
    exports = [
        [["Brinda left.", {"entities": [[0, 6, "PER"]]}]],
        [["Tarvo is far.", {"entities": [[0, 5, "LOC"]]}]],
    ]
    exports.append([["A", {"entities": []}], ["A", {"entities": []}]])
    write("all.jsonl", "".join(json.dumps({"classes": [], "annotations": e}) + "\n" for e in exports))
    done(capsys, "convert", "all.jsonl", "--output", "o.jsonl", "--to", "doccano")
    rows = json_rows("o.jsonl")
    assert [row["text"] for row in rows] == ["Brinda left.", "Tarvo is far.", "A", "A"]
    assert [row["label"] for row in rows] == [[[0, 6, "PER"]], [[0, 5, "LOC"]], [], []]
    assert len({sentence.document for sentence in read_sentences("all.jsonl")}) == 4


def test_sentences_with_overlapping_entities_stay_in_their_document(columns_folder, capsys):
    def row(number, word, entity):
        return "\t".join([str(number), word, *"_" * 7, entity]) + "\n"

    nested = [("Bank", "Entity=(1-org"), ("of", "_"), ("Tarvo", "Entity=(2-place)1)")]
    plain = [("Brinda", "Entity=(1-person)"), ("left", "_")]
    blocks = ["".join(row(n, *word) for n, word in enumerate(s, 1)) for s in (plain, nested, plain, plain)]
    write("all.conllu", "\n".join(blocks) + "\n")
    options = ReadOptions(rules=AnnotationRules(overlapping="longest"))
    assert [sentence.document for sentence in read_sentences("all.conllu", options)] == [0, 0, 0, 0]


def test_other_splits_in_the_folder_are_refused_or_removed(columns_folder, capsys):
    write("all.conll", many())
    done(capsys, "split", "all.conll", "--output", "out")
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    again = ("split", "all.conll", "--output", "out", "--seed", "5", "--test", "0")
    for name in ("train.conll", "valid.conll"):
        Path("out", name).unlink()
    assert "test.conll there would be read as a split" in refused(capsys, *again)
    assert {path.name for path in Path("out").iterdir()} == {"test.conll"}
    for name, content in before.items():
        write(f"out/{name}", content)
    write("out/dev.jsonl", "{}")
    write("out/notes.txt", "mine")
    said = done(capsys, *again, "--overwrite")
    assert "out/test.conll is removed" in said
    assert "out/dev.jsonl is removed" in said
    assert {path.name for path in Path("out").iterdir()} == {"train.conll", "valid.conll", "notes.txt"}


def test_a_part_of_a_name_makes_another_split_too(columns_folder, capsys):
    write("all.conll", many())
    write("out/my_test.conll", many(3))
    done(capsys, "split", "all.conll", "--output", "out")  # beside the new test.conll it is of no split
    for name in ("train", "valid", "test"):
        Path(f"out/{name}.conll").unlink()
    said = refused(capsys, "split", "all.conll", "--output", "out", "--test", "0")
    assert "my_test.conll there would be read as a split" in said


def test_the_data_that_are_divided_are_not_removed(columns_folder, capsys):
    write("out/train.conll", many())
    said = refused(capsys, "split", "out/train.conll", "--output", "out", "--to", "jsonl", "--overwrite")
    assert "train.conll there would be read as a split" in said
    assert "--overwrite" not in said
    assert [path.name for path in Path("out").iterdir()] == ["train.conll"]


def test_there_may_be_no_test_part(columns_folder, capsys):
    write("all.conll", many())
    done(capsys, "split", "all.conll", "--output", "out", "--test", "0", "--valid", "0.25")
    assert sorted(path.name for path in Path("out").iterdir()) == ["train.conll", "valid.conll"]
    assert len(parts("out", names=("valid",))["valid"]) == 15


@pytest.mark.parametrize(
    ("name", "content", "to", "suffix"),
    [
        ("all.conll", many(), None, ".conll"),
        ("all.conll", many(), "jsonl", ".jsonl"),
        ("all.txt", many(), None, ".conll"),
        ("all.csv", "word,tag\n" + many().replace(" ", ","), None, ".csv"),
        ("all.parquet", None, None, ".parquet"),
        (
            "all.jsonl",
            "".join(json.dumps({"text": f"w{n} left x{n}.", "label": []}) + "\n" for n in range(20)),
            None,
            ".jsonl",
        ),
    ],
)
def test_parts_have_the_format_of_the_file(columns_folder, capsys, name, content, to, suffix):
    if content is None:
        write("made.conll", many())
        done(capsys, "convert", "made.conll", "--output", name)
    else:
        write(name, content)
    done(capsys, "split", name, "--output", "out", *(["--to", to] if to else []))
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"{p}{suffix}" for p in ("test", "train", "valid")
    ]
    found = parts("out", suffix)
    assert sum(map(len, found.values())) == len(read_sentences(name))
    if name == "all.jsonl":
        assert "label" in json.loads(Path("out/test.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_no_part_is_overwritten_unless_asked_for(columns_folder, capsys, name):
    write("all.conll", many())
    write(f"out/{name}.conll", "mine")
    said = refused(capsys, "split", "all.conll", "--output", "out")
    assert f"--output out/{name}.conll exists" in said
    assert [path.name for path in Path("out").iterdir()] == [f"{name}.conll"]
    done(capsys, "split", "all.conll", "--output", "out", "--overwrite")
    assert len(parts("out")["train"]) == 48


def test_the_file_itself_is_no_part(columns_folder, capsys):
    write("out/train.conll", many())
    said = refused(capsys, "split", "out/train.conll", "--output", "out", "--overwrite")
    assert "is what is read" in said
    assert Path("out/train.conll").read_text() == many()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--valid", "0.7", "--test", "0.4"], "the share of train is -0.1"),
        (["--valid", "1.5"], "--valid 1.5 is a share of the words"),
        (["--valid", "-0.1", "--test", "0"], "--valid -0.1 is a share of the words"),
        (["--valid", "many"], "--valid"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_shares_that_cannot_be(columns_folder, capsys, options, said):
    write("all.conll", many())
    assert said in refused(capsys, "split", "all.conll", "--output", "out", *options)
    assert not Path("out").exists()


def test_a_document_is_to_be_converted_first(columns_folder, capsys):
    (columns_folder / "a.docx").write_text("Vera left\n", encoding="utf-8")
    assert "a.docx: .docx is no format of text; convert the document" in refused(capsys, "check", "a.docx")


def test_the_bundled_sample_is_converted_and_split(columns_folder, capsys):
    assert main(["data", "convert", "sample", "--output", "export.jsonl", "--to", "doccano"]) == 0
    assert main(["data", "split", "sample", "--output", "parts"]) == 0
    capsys.readouterr()
    assert len((columns_folder / "export.jsonl").read_text(encoding="utf-8").splitlines()) > 100
    assert sorted(file.name for file in (columns_folder / "parts").iterdir()) == [
        "test.conll",
        "train.conll",
        "valid.conll",
    ]


EMOJI = "\U0001f600 Brinda Okafor, of Tarvo, moved to Lima."
PLACES = [(2, 15), (20, 25), (36, 40)]


def entities(columns_folder, moved, times=10):
    """A file of texts whose offsets are counted in some way."""
    label = [[*moved(*offsets), "X"] for offsets in PLACES]
    row = json.dumps({"text": EMOJI, "label": label}) + "\n"
    (columns_folder / "texts.jsonl").write_text(row * times, encoding="utf-8")


@pytest.mark.parametrize(
    ("moved", "how"),
    [
        (lambda start, end: (start, end - 1), "if the end were inclusive"),
        (lambda start, end: (start + 1, end + 1), "UTF-16 code units"),
        (lambda start, end: (start - 1, end - 1), "if each offset were one higher"),
    ],
)
def test_offsets_that_count_something_else_throughout_are_a_problem(columns_folder, capsys, moved, how):
    entities(columns_folder, moved)
    assert main(["data", "check", "texts.jsonl", "--json"]) == 2
    said = capsys.readouterr()
    assert "can be trained on texts.jsonl: Offsets of entities that count something else" in said.err
    out = json.loads(said.out)
    (finding,) = [each for each in out["findings"] if each["key"] == "offsets"]
    assert not out["trainable"]
    assert "30 of 30 entities are no whole words" in str(finding)
    assert how in str(finding)


def test_offsets_are_no_problem_where_names_may_be_parts_of_words(columns_folder, capsys):
    entities(columns_folder, lambda start, end: (start, end - 2) if start == 20 else (start, end))
    assert main(["data", "check", "texts.jsonl"]) == 0
    entities(columns_folder, lambda start, end: (start, end - 1))
    assert main(["data", "check", "texts.jsonl", "--misaligned", "expand"]) == 0
    entities(columns_folder, lambda start, end: (start, end - 1) if start == 20 else (start, end))
    assert main(["data", "check", "texts.jsonl"]) == 0


def test_the_page_of_a_check_replaces_an_earlier_page_alone(columns_folder, capsys):
    write("data/train.conll", many())
    write("data/valid.conll", COLUMNS)
    for own, said in (
        ("notes.md", "notes.md exists and was not written by this command; name another file"),
        ("data/valid.conll", "is what is read"),
    ):
        write("notes.md", "my own")
        assert f"--output {own}" in refused(capsys, "check", "data", "--output", own)
        assert said in refused(capsys, "check", "data", "--output", own)
    assert Path("notes.md").read_text() == "my own"
    for _ in range(2):
        main(["data", "check", "data", "--output", "page.html"])
        assert "The same as a page: page.html" in capsys.readouterr().err


def test_too_few_sentences_to_split(columns_folder, capsys):
    said = refused(capsys, "split", "a.conll", "--output", "out")
    assert "2 sentences cannot be split into 3 parts" in said
    assert not Path("out").exists()


def test_a_folder_that_cannot_be_made(columns_folder, capsys):
    write("all.conll", many())
    assert "--output a.conll/out: " in refused(capsys, "split", "all.conll", "--output", "a.conll/out")


# What all have in common


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["join", "a.conll"], "there is no `data join`; there are convert, split, audit, check"),
        (["convert", "a.conll"], "--output"),
        (["convert", "a.conll", "--output", "b.jsonl", "--to", "xml"], "--to"),
        (["convert", "a.conll", "--output", "b.jsonl", "--from", "xml"], "--from"),
        (["split", "--output", "out"], "FILE"),
    ],
)
def test_words_of_the_command_that_are_wrong(columns_folder, capsys, args, said):
    assert said in refused(capsys, *args)


@pytest.mark.parametrize(
    "args", [[], ["--help"], ["convert", "--help"], ["split", "-h"], ["check", "--help"]]
)
def test_help_goes_to_standard_output(columns_folder, capsys, args):
    try:
        code = main(["data", *args])
    except SystemExit as ended:
        code = ended.code
    assert code == 0
    assert capsys.readouterr().out.startswith("usage: ner-lightning data")


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize(
    "args",
    [
        ["convert", "all.conll", "--output", "b.jsonl"],
        ["convert", "all.conll", "--output", "b.parquet"],
        ["convert", "all.conll", "--output", "b.jsonl", "--to", "doccano"],
        ["split", "all.conll", "--output", "out"],
        ["check", "data"],
        ["check", "data", "--json"],
    ],
    ids=" ".join,
)
def test_torch_is_not_imported(columns_folder, args):
    write("all.conll", many())
    for name in ("train", "valid", "test"):
        write(f"data/{name}.conll", many())
    code = (
        "import sys\nfrom ner_lightning.commands.main import main\n"
        f"code = main(['data', *{args!r}])\n"
        "loaded = {'torch', 'lightning', 'transformers'} & sys.modules.keys()\n"
        "sys.exit(f'loaded: {loaded}' if loaded else code)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert ran.returncode == 0, ran.stderr


def test_what_was_converted_is_read_untagged_as_well(columns_folder, capsys):
    for suffix in ("jsonl", "conll", "csv", "parquet"):
        done(capsys, "convert", "a.conll", "--output", f"b.{suffix}")
        assert [s.words for s in read_sentences(f"b.{suffix}", ReadOptions(tagged=False))] == WORDS


def test_a_tokenizer_that_adds_the_space_itself_gets_none(tmp_path):
    """Else each word would count a sub-token more, and none would be unknown as a whole."""
    tiny.write_llama(tmp_path / "llama")
    tokenizer = tiny.llama2_tokenizer()
    tokenizer.save_pretrained(tmp_path / "llama")
    words = ["Vera", "left", "Lima"]
    (tmp_path / "train.conll").write_text("".join(f"{word} O\n" for word in words))
    read = read_splits(str(tmp_path / "train.conll"), Files(), str(tmp_path / "llama"), 64)
    ids = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert read.facts.lengths == {"train": [len(ids)]}
