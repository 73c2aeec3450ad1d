"""Tests of the bundled corpus: its files are what build.py makes of the annotations, and are good enough."""

import shutil
from collections import Counter

import pytest

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sample import make_corpus as build
from ner_lightning.data.sample.figures import entity_f1, kappa, tag_by_dictionary, unseen
from ner_lightning.data.sample.make_corpus import HERE, SPLITS, TYPES, Sample
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.sentence import DataError, Sentence


@pytest.fixture(scope="module")
def sample():
    return Sample()


@pytest.fixture(scope="module")
def files():
    """The committed files as users read them."""
    return {part: read_sentences(HERE / f"{part}.conll") for part in SPLITS}


@pytest.fixture
def folder(tmp_path):
    """A copy of the annotations, to spoil."""
    return shutil.copytree(HERE / "annotations", tmp_path / "annotations")


def spoil(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_committed_files_are_what_the_annotations_give(sample, tmp_path):
    shutil.copy(HERE / "README.md", tmp_path)
    sample.write(tmp_path)
    for name in [*(f"{part}.conll" for part in SPLITS), "README.md"]:
        assert (tmp_path / name).read_bytes() == (HERE / name).read_bytes(), name


def test_the_files_read_back_as_the_splits(sample, files):
    for part, sentences in files.items():
        expected = [(each.words, each.tags) for each in sample.parts[part]]
        assert [(each.words, each.tags) for each in sentences] == expected
        assert len({s.document for s in sentences}) == len({s.document for s in sample.parts[part]})


def test_sizes_and_types(files):
    assert len(files["train"]) >= 500
    assert len(files["valid"]) >= 100
    assert len(files["test"]) >= 150
    for sentences in files.values():
        assert set(LabelSet.from_tags(s.tags for s in sentences).types) == set(TYPES)


def test_no_sentence_occurs_twice(files):
    counts = Counter(sentence.words for part in files.values() for sentence in part)
    assert [words for words, count in counts.items() if count > 1] == []


def test_no_document_is_in_two_splits(sample):
    documents = [{sentence.document for sentence in part} for part in sample.parts.values()]
    assert len(set.union(*documents)) == sum(map(len, documents))


def test_every_split_has_every_domain_and_the_hard_forms(sample):
    domain = {sentence.document: address.split(":")[0] for address, sentence in sample.first.items()}
    for part in sample.parts.values():
        assert {domain[sentence.document] for sentence in part} == set(build.DOMAINS)
        texts = [" ".join(sentence.words) for sentence in part if len(sentence.words) > 4]
        assert sum(text.isupper() for text in texts) >= 5
        assert sum(text.islower() and "B-PER" in s.tags for s in part for text in [" ".join(s.words)]) >= 2
        assert sum(text.startswith(("1. ", "2. ", "3. ")) for text in texts) >= 3


def test_the_annotations_agree(sample):
    one, other = list(sample.first.values()), list(sample.second.values())
    assert entity_f1(one, other) >= 0.95
    assert 0.95 <= kappa(one, other) < 1


def test_a_dictionary_is_not_enough(files):
    tagged = tag_by_dictionary(files["train"], files["test"])
    assert 0 < entity_f1(tagged, files["test"]) <= 0.45
    assert unseen(files["train"], files["test"]) >= 0.5


def test_entity_f1_and_kappa_by_hand():
    one = [Sentence(("a", "b", "c", "d"), ("B-PER", "I-PER", "O", "O"), 0)]
    other = [Sentence(("a", "b", "c", "d"), ("B-PER", "O", "O", "B-LOC"), 0)]
    assert entity_f1(one, one) == 1
    assert entity_f1(one, other) == 0
    # Two of four words agree; by chance (1 * 1 + 2 * 2) / 16 would.
    assert kappa(one, other) == pytest.approx((1 / 2 - 5 / 16) / (1 - 5 / 16))


def test_the_dictionary_takes_the_longest_match_and_the_most_frequent_type():
    train = [
        build.parse("[LOC Oslo] and [ORG Oslo] and [ORG Oslo]", 0, ""),
        build.parse("[PER Oslo Berg Lie]", 0, ""),
    ]
    text = [Sentence(("Oslo", "Berg", "Lie", "in", "Oslo", "Berg", "oslo"), None, 0)]
    (tagged,) = tag_by_dictionary(train, text)
    assert tagged.tags == ("B-PER", "I-PER", "I-PER", "O", "B-ORG", "O", "O")


def test_markup_is_read():
    sentence = build.parse("[ORG Keta] beat [PER A. B.] [LOC Oslo]", 3, "")
    assert sentence.words == ("Keta", "beat", "A.", "B.", "Oslo")
    assert sentence.tags == ("B-ORG", "O", "B-PER", "I-PER", "B-LOC")
    assert sentence.document == 3


@pytest.mark.parametrize(
    "line", ["", " a", "a ", "a  b", "[PER a", "[XYZ a]", "[PER]", "a [PER b]c", "[PER a]]"]
)
def test_bad_markup_is_refused(line):
    with pytest.raises(DataError, match=r"^news\.txt:7: "):
        build.parse(line, 0, "news.txt:7")


FIRST_DOCUMENT = "# document: news-lake-ferry\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "decisions.txt",
            "news:chat-dam:3 first",
            "# news:chat-dam:3 first",
            "news:chat-dam:3: the annotations",
        ),
        (
            "decisions.txt",
            "news:chat-dam:3 first",
            "news:chat-dam:4 first",
            "news:chat-dam:3: the annotations",
        ),
        (
            "decisions.txt",
            "# Where",
            "news:chat-dam:1 first  x\n# Where",
            "chat-dam:1: there is no difference",
        ),
        ("decisions.txt", "news:chat-dam:3 first  ", "news:chat-dam:3 both  ", "decisions.txt:2: expected"),
        ("splits.txt", "news:chat-dam test", "news:chat-dan test", "no such document: news:chat-dan"),
        ("splits.txt", "news:chat-dam test", "news:hollis-trial test", r"splits.txt:\d+: expected"),
        ("first/news.txt", "[LOC MWANZA]", "[LOC MWANSA]", "the same words"),
        ("first/news.txt", "[LOC MWANZA]", "[LOC MWANZA", r"first/news.txt:2: write"),
        ("first/news.txt", FIRST_DOCUMENT, "", "before the first document"),
        ("first/sport.txt", "sport-bulawayo-test", "sport-lagoon-derby", r"sport.txt:10: write"),
    ],
)
def test_what_does_not_fit_is_an_error(folder, name, old, new, message):
    spoil(folder / name, old, new)
    with pytest.raises(DataError, match=message):
        Sample(folder)


def correction(folder, text):
    with (folder / "corrections.txt").open("a", encoding="utf-8") as file:
        file.write(text)
    return Sample(folder)


def test_a_correction_changes_one_sentence(sample, folder):
    after = correction(
        folder, "# rain is a god here\nnews:wire-headlines:9  [PER RAIN] , RAIN AND MORE RAIN\n"
    )
    assert after.corrections == sample.corrections + 1
    pairs = zip(sample.parts["train"], after.parts["train"], strict=True)
    changed = [new for old, new in pairs if old != new]
    assert [each.tags for each in changed] == [("B-PER", "O", "O", "O", "O", "O")]
    assert after.parts["test"] == sample.parts["test"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nnews:lake-ferry:1  x\n# after\nnews:none:1  RAIN\n", r"corrections.txt:\d+: "),
        ("# no such sentence\nnews:none:1  RAIN\n", "write '# REASON'"),
        ("# other words\nnews:wire-headlines:9  [PER RAIN]\n", "keep the words"),
        ("# no change\nnews:wire-headlines:9  RAIN , RAIN AND MORE RAIN\n", "keep the words"),
    ],
)
def test_a_bad_correction_is_refused(folder, text, message):
    with pytest.raises(DataError, match=message):
        correction(folder, text)


def test_the_command_prints_the_figures_of_the_readme(capsys):
    build.main([])
    printed = capsys.readouterr().out
    assert f"{build.BEGIN}\n{printed}{build.END}" in (HERE / "README.md").read_text(encoding="utf-8")
