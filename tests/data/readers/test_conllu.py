"""CoNLL-U with entities in MISC, and CoNLL-2012 with entities in brackets."""

import pytest
from data.readers.mutations import check, opened, read, survives

from ner_lightning.data.readers.conll2012 import is_conll2012, read_conll2012
from ner_lightning.data.readers.conllu import is_conllu, read_conllu
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.record import CharSpan, Record
from ner_lightning.data.readers.sentences import read_sentences, sentences_from
from ner_lightning.data.sentence import DataError


def row(number, form, misc="_"):
    return "\t".join([str(number), form, *"_" * 7, misc]) + "\n"


def sentence(*words, comments=""):
    """The rows of a sentence from forms, or pairs of a form and MISC."""
    pairs = [word if isinstance(word, tuple) else (word, "_") for word in words]
    return comments + "".join(row(n, form, misc) for n, (form, misc) in enumerate(pairs, 1)) + "\n"


MOVED = sentence(
    ("Brinda", "NER=B-PER"),
    ("Okafor", "Lang=xx|NER=I-PER"),
    ("moved", "NER=O"),
    "to",
    ("Tarvo", "NER=B-LOC|SpaceAfter=No"),
    ".",
    comments="# newdoc id = letter 1\n# sent_id = s-1\n# text = Brinda Okafor moved to Tarvo.\n",
)
LEFT = sentence(("Vera", "NER=S-PER"), "left", comments="# sent_id = s-2\n")
FILE = MOVED + LEFT + "# newdoc id = letter 2\n" + LEFT


def of(text, reader=read_conllu, **options):
    return read(reader, text.encode(), **options)


def spans(record):
    """The entities of a record as their texts and types."""
    return [(record.content[start:end], type_) for start, end, type_ in record.entities]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_sentences_of_words_with_tags(newline):
    first, second, third = of(FILE.replace("\n", newline))
    assert first.content == ("Brinda", "Okafor", "moved", "to", "Tarvo", ".")
    assert first.tags == ("B-PER", "I-PER", "O", "O", "B-LOC", "O")
    assert first.lines == (4, 5, 6, 7, 8, 9)
    assert (first.line, first.id, first.document, first.starts_document) == (4, "s-1", "letter 1", True)
    assert (second.tags, second.document, second.starts_document) == (("S-PER", "O"), "letter 1", False)
    assert (third.id, third.document, third.starts_document) == ("s-2", "letter 2", True)


def test_documents_without_an_id_are_documents():
    text = "# newdoc\n" + LEFT + LEFT + "# newdoc\n" + LEFT + "# newdoc id = last\n" + LEFT
    records = of(text)
    documents = [record.document for record in records]
    assert documents[0] == documents[1]
    assert len(set(documents)) == 3
    assert [record.starts_document for record in records] == [True, False, True, True]


def test_without_comments_and_a_blank_line_at_the_end():
    (record,) = of("\n\n" + sentence(("Tarvo", "NER=B-LOC")).strip())
    assert (record.line, record.tags, record.document, record.starts_document) == (3, ("B-LOC",), None, True)


def test_words_alone_need_no_entities():
    (record,) = of(sentence("Vera", "left"), tagged=False)
    assert (record.content, record.tags) == (("Vera", "left"), None)


@pytest.mark.parametrize(
    ("misc", "wanted", "tag"),
    [
        ("NER=B-A|Entity=B-B", None, "B-A"),
        ("Entity=B-B|ner=B-C", None, "B-B"),
        ("NE=B-D|ner=B-C", None, "B-C"),
        ("NE=B-D", None, "B-D"),
        ("NER=B-A|Kind=B-E", "Kind", "B-E"),
        ("NER=_", None, "O"),
        ("NER=", None, "O"),
    ],
)
def test_the_key_in_misc(misc, wanted, tag):
    assert of(sentence(("Tarvo", misc)), tags_column=wanted)[0].tags == (tag,)


def test_the_key_may_first_occur_in_a_later_sentence():
    assert [record.tags for record in of(sentence("Hello", ".") + LEFT)] == [("O", "O"), ("S-PER", "O")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (None, r"x:2: no NER= and no Entity= in MISC, .* data\.files\.tags_column"),
        ("Kind", "x:2: no Kind= in MISC"),
    ],
)
def test_a_file_without_the_key_is_refused(wanted, message):
    with pytest.raises(DataError, match=message):
        of("# text = Vera left\n" + sentence("Vera", ("left", "SpaceAfter=No")), tags_column=wanted)


def test_ranges_are_left_out_and_empty_nodes_too():
    text = (
        row("1-2", "dello", "_")
        + row(1, "di", "NER=B-LOC")
        + row(2, "lo", "NER=I-LOC")
        + row("2.1", "e")
        + row(3, "!")
    )
    (record,) = of(text)
    assert record.content == ("di", "lo", "!")
    assert record.tags == ("B-LOC", "I-LOC", "O")
    assert record.lines == (2, 3, 5)


def test_a_range_that_has_the_entity_replaces_its_words(caplog):
    text = row(1, "va") + row("2-3", "Tarvolo", "NER=B-LOC") + row(2, "Tarvo") + row(3, "lo") + row(4, "!")
    (record,) = of(text)
    assert record.content == ("va", "Tarvolo", "!")
    assert record.tags == ("O", "B-LOC", "O")
    assert "1 ranges have NER and were read instead of their words: 'Tarvolo' (line 2)" in caplog.text
    assert of(text, tagged=False)[0].content == ("va", "Tarvo", "lo", "!")


def test_entities_of_empty_nodes_are_left_out_and_counted(caplog):
    text = row(1, "va", "NER=O") + row("1.1", "Vera", "NER=B-PER") + row(2, "!")
    assert of(text)[0].tags == ("O", "O")
    assert "1 empty nodes have an entity and were left out: 'B-PER' (line 2)" in caplog.text


@pytest.mark.parametrize(
    ("comment", "first", "last", "type_"),
    [
        ("", "(person-1", "person-1)", "person"),
        ("", "(1-person-giv:act-1-coref", "1)", "person"),
        ("", "(e12-person-2-x", "e12)", "person"),
        ("", "(person", "person)", "person"),
        ("# global.Entity = GRP-etype-infstat-minspan-link-identity\n", "(7-person-new-1", "7)", "person"),
        ("# global.Entity = eid-head-etype\n", "(doc1-2-person", "doc1)", "person"),
        ("# global.Entity = entity-GRP-infstat\n", "(person-7-new", "person-7)", "person"),
    ],
)
def test_entities_in_brackets(comment, first, last, type_):
    text = comment + sentence(
        ("Brinda", f"Entity={first}"), ("Okafor", f"Entity={last}"), ("left", "Entity=(x)")
    )
    assert of(text.replace("|Entity=(x)", "").replace("Entity=(x)", "_"))[0].tags == (
        f"B-{type_}",
        f"I-{type_}",
        "O",
    )


def test_nested_entities_give_a_text():
    text = sentence(
        ("\U0001f600", "_"),
        ("mayor", "Entity=(1-person-new"),
        "of",
        ("New", "Entity=(2-place(3-abstract)"),
        ("Tarvo", "Entity=2)1)(4-event)"),
    )
    (record,) = of(text)
    assert record.content == "\U0001f600 mayor of New Tarvo"
    assert spans(record) == [
        ("mayor of New Tarvo", "person"),
        ("New Tarvo", "place"),
        ("New", "abstract"),
        ("Tarvo", "event"),
    ]
    assert record.entities[0] == CharSpan(2, 20, "person")
    assert [record.content[a:b] for a, b in record.tokens] == ["\U0001f600", "mayor", "of", "New", "Tarvo"]


def test_an_invisible_word_is_no_word_of_a_text():
    (record,) = of(sentence(("a", "Entity=(1-x(2-y"), "\u200b", ("b", "Entity=2)1)")))
    assert record.tokens == ((0, 1), (4, 5))
    assert spans(record) == [("a \u200b b", "x"), ("a \u200b b", "y")]


def test_crossing_entities_close_by_name():
    text = sentence(("a", "Entity=(1-x"), ("b", "Entity=(2-y"), ("c", "Entity=1)"), ("d", "Entity=2)"))
    assert spans(of(text)[0]) == [("a b c", "x"), ("b c d", "y")]


def test_discontinuous_entities_are_read_as_their_extent_and_counted(caplog):
    text = sentence(("North", "Entity=(e1[1/2]-place)"), "and", "South", ("Tarvo", "Entity=(e1[2/2]-place)"))
    assert of(text)[0].tags == ("B-place", "I-place", "I-place", "I-place")
    assert "1 parts of discontinuous entities were read with the words between them" in caplog.text


def test_brackets_on_empty_nodes(caplog):
    text = row(1, "va", "_") + row("1.1", "lui", "Entity=(1-person)") + row("1.2", "il", "Entity=(2-place")
    text += row(2, "Tarvo", "Entity=2)")
    assert of(text)[0].tags == ("O", "B-place")
    assert "1 entities have no word but empty nodes, and were left out: '1-person' (line 2)" in caplog.text


@pytest.mark.parametrize(
    ("misc", "reason"),
    [
        ("Entity=1)", "Entity: the entity '1' ends here, but does not begin in the sentence"),
        ("Entity=(1-x", "Entity: the entity '1-x' does not end in its sentence"),
        ("Entity=(1)", "Entity: the entity '1' has no type; write one, as in (1-person"),
        ("Entity=()", "Entity: the entities '()' are malformed"),
        ("Entity=(1-x)y", "Entity: the entities '(1-x)y' are malformed"),
    ],
)
def test_malformed_entities_reject_the_sentence(misc, reason):
    bad, good = of(sentence(("Vera", misc)) + sentence(("Tarvo", "Entity=(2-place)")))
    assert reason in bad.reason
    assert (bad.line, good.tags) == (1, ("B-place",))


@pytest.mark.parametrize(
    ("tags", "read", "said"),
    [
        (("PER", "PER", "_"), ("B-PER", "I-PER", "O"), "without B- and I-"),
        (("PER_B", "PER_I", "_"), ("B-PER", "I-PER", "O"), "PER_B"),
        (("B-PER", "I-PER", "_"), ("B-PER", "I-PER", "O"), ""),
    ],
)
def test_tags_may_have_the_forms_that_columns_have(tmp_path, caplog, tags, read, said):
    file = tmp_path / "x.conllu"
    words = zip(("Vera", "Holt", "left"), tags, strict=True)
    text = sentence(*((word, tag if tag == "_" else f"NE={tag}") for word, tag in words)) * 3
    file.write_text(text, encoding="utf-8")
    assert [found.tags for found in read_sentences(file)] == [read] * 3
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_a_tag_of_another_form_than_the_others_is_named_with_its_line(tmp_path):
    file = tmp_path / "x.conllu"
    text = sentence(("Vera", "NER=B-PER")) * 3 + sentence(("Holt", "NER=PER"))
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.conllu:7: malformed tag 'PER'"):
        read_sentences(file)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("1\tVera\tNER=B-PER\n", 1, "3 columns between tabs, not the 10 of CoNLL-U"),
        (row("a", "Vera"), 1, "'a' is no id of CoNLL-U; number the words of a sentence from 1"),
        (row(1, "Vera") + row(3, "left"), 2, "3 where word 2 must follow"),
        (row("2-1", "x") + row(1, "Vera"), 1, "the range 2-1 is empty"),
        (row("1-2", "x") * 2 + row(1, "Vera"), 2, "the range 1-2 overlaps the one before it"),
        (row("1-2", "x") + row(1, "Vera"), 1, "a range ends at word 2 of 1; complete it or remove it"),
        (row(1, ""), 1, "word 1 is empty; remove it or write a placeholder"),
        (row("1.1", "x"), 1, "no word in this sentence"),
    ],
)
def test_a_malformed_sentence_is_rejected_and_the_next_one_read(text, line, reason):
    bad, good = of(text + "\n" + LEFT)
    assert reason in bad.reason
    assert (bad.line, good.tags) == (line, ("S-PER", "O"))
    # The reason comes first where nothing is left that could have the key.
    records = read_conllu(opened(text.encode()), ReadOptions())
    assert next(records).line == line
    with pytest.raises(DataError, match="no NER="):
        next(records)


def test_an_empty_file_has_no_records():
    assert of("") == of("# newdoc id = a\n\n") == []


def test_recognised_by_its_columns_and_its_keys():
    assert is_conllu(FILE.split("\n"), ".txt")
    assert is_conllu(sentence(("a", "Entity=(1-x)")).split("\n"), ".conll")
    assert not is_conllu(sentence("Vera", "left").split("\n"), ".conll")
    assert is_conllu(sentence("Vera", "left").split("\n"), ".conllu")
    assert is_conllu((row("1-2", "x") + row(1, "Vera", "NER=B-PER")).split("\n"), "")
    assert not is_conllu((row(1, "Vera", "NER=B-PER") + row(1, "Vera")).split("\n"), "")
    assert not is_conllu((row(0, "Vera", "NER=B-PER")).split("\n"), ".conllu")
    assert not is_conllu((row(1, "Vera", "NER=B-PER").replace("\t", " ")).split("\n"), "")
    assert not is_conllu(["Vera\tB-PER"], ".conllu")
    assert not is_conllu(["# newdoc", ""], ".conllu")


def test_damaged_conllu_gives_records_or_reasons():
    nested = sentence(
        ("\U0001f600", "Entity=(1-x(2-y)"), ("b", "Entity=(e3[1/2]-z)"), ("c", "Entity=(e3[2/2]-z)1)")
    )
    nested += (
        row("1-2", "dello", "Entity=(5-q)") + row(1, "di") + row("1.1", "e", "Entity=(6-q)") + row(2, "lo")
    )
    for text in (FILE, nested):
        for record in of(text):
            check(record)
            assert not record.reason
        good, bad = survives(read_conllu, text.encode())
        assert good > 20
        assert bad > 100
    survives(read_conllu, FILE.encode(), 100, tagged=False)


def line2012(number, word, entity, speaker="-"):
    return (
        f"bc/x/00/x_0000   0   {number}   {word}   NN   (TOP*   -   -   -   {speaker}   {entity}   *   (3)\n"
    )


def part(number, *sentences):
    rows = ("".join(line2012(n, *pair) for n, pair in enumerate(pairs)) + "\n" for pairs in sentences)
    return f"#begin document (bc/x/00/x_0000); part {number:03}\n{''.join(rows)}#end document\n"


MOVED_2012 = [
    ("Brinda", "(PERSON*"),
    ("Okafor", "*)"),
    ("moved", "*"),
    ("to", "*"),
    ("Tarvo", "(GPE)"),
    (".", "*"),
]
FILE_2012 = part(0, MOVED_2012, [("Vera", "(PERSON)"), ("left", "*")]) + part(1, [("Vera", "(PERSON)")])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_conll2012(newline):
    first, second, third = of(FILE_2012.replace("\n", newline), read_conll2012)
    assert first.content == ("Brinda", "Okafor", "moved", "to", "Tarvo", ".")
    assert first.tags == ("B-PERSON", "I-PERSON", "O", "O", "B-GPE", "O")
    assert (first.line, first.lines) == (2, (2, 3, 4, 5, 6, 7))
    assert [r.document for r in (first, second, third)] == [f"bc/x/00/x_0000 part 00{n}" for n in (0, 0, 1)]
    assert [r.starts_document for r in (first, second, third)] == [True, False, True]
    assert of(FILE_2012, read_conll2012, tagged=False)[0].tags is None


def test_conll2012_nested_entities_give_a_text():
    (record,) = of(part(0, [("New", "(ORG(GPE*"), ("Tarvo", "*)"), ("Bank", "*)")]), read_conll2012)
    assert spans(record) == [("New Tarvo Bank", "ORG"), ("New Tarvo", "GPE")]


def test_conll2012_columns_by_number():
    text = "#begin document (x); part 000\nVera 0 0 w (PERSON)\n\n"
    (record,) = of(text, read_conll2012, words_column="0", tags_column="4")
    assert (record.content, record.tags) == (("Vera",), ("B-PERSON",))
    with pytest.raises(
        DataError, match=r"x:1: .* no column 'word'; give data.files.words_column a number from 0"
    ):
        of(text, read_conll2012, words_column="word")


def test_conll2012_without_end_or_name():
    (record,) = of("#begin document\n" + line2012(0, "Vera", "(PERSON)"), read_conll2012)
    assert (record.document, record.tags) == ("", ("B-PERSON",))


@pytest.mark.parametrize(
    ("entities", "line", "reason"),
    [
        (("(PERSON*", "*"), 3, "the entity PERSON at word 1 does not end in its sentence"),
        (("*", "*)"), 3, "word 2 ends an entity that does not begin in the sentence"),
        (("B-PERSON", "*"), 2, "'B-PERSON' is no entity of CoNLL-2012, such as (PERSON*, *, *) or (GPE)"),
        (("*", ""), 3, "12 columns where the sentence began with 13"),
    ],
)
def test_conll2012_malformed_entities_reject_the_sentence(entities, line, reason):
    text = part(0, list(zip(("Vera", "left"), entities, strict=True)), [("Tarvo", "(GPE)")])
    bad, good = of(text, read_conll2012)
    assert reason in bad.reason
    assert (bad.line, good.tags) == (line, ("B-GPE",))


def test_conll2012_with_too_few_columns_rejects_the_sentence():
    bad, good = of("a 0 0 Vera NN\n\n" + line2012(0, "Vera", "(PERSON)"), read_conll2012)
    assert bad.reason == "5 columns, but column 10 (from 0) is read"
    assert good.tags == ("B-PERSON",)


def test_conll2012_is_recognised():
    assert is_conll2012(FILE_2012.split("\n"))
    assert not is_conll2012(FILE_2012.split("\n")[1:])
    assert not is_conll2012(["#begin document (x); part 000"])
    assert not is_conll2012(["#begin document (x); part 000", "x 0 0 Vera (3)"])
    assert not is_conll2012(["#begin document (x); part 000", line2012("a", "Vera", "*")])
    assert not is_conll2012(["#begin document (x); part 000", line2012(0, "Vera", "B-PER")])


def test_damaged_conll2012_gives_records_or_reasons():
    good, bad = survives(read_conll2012, FILE_2012.encode())
    assert good > 20
    assert bad > 30


def test_overlapping_entities_do_not_cut_a_sentence(tmp_path):
    words = [
        ("Bank", "NER=B-ORG"),
        ("of", "NER=I-ORG"),
        ("Lima", "NER=I-ORG"),
        ".",
        "Vera",
        "left",
    ]
    plain, file = sentence(*words), tmp_path / "a.conllu"
    text = "Bank of Lima . Vera left"
    record = Record("a", 1, content=text, entities=(CharSpan(0, 12, "ORG"), CharSpan(8, 12, "LOC")))
    record = record._replace(is_sentence=True)
    options = ReadOptions(rules=AnnotationRules(overlapping="longest"))
    (cut,) = sentences_from("a", iter([record]), options)
    file.write_text(plain, encoding="utf-8")
    (whole,) = read_sentences(file)
    assert (cut.words, cut.tags) == (whole.words, whole.tags)
