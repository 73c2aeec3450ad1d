"""Whether a split that is scored has sentences of the training."""

import pytest

from ner_lightning.runs.fingerprints import (
    digest_in,
    file_in,
    limited,
    of_hub_split,
    of_part,
    part_origin,
    shared,
    shortened,
    with_note,
)

FILE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
RULE, TWO = "train 0.8, valid 0.1, test 0.1", "train 0.9, valid 0.1"


@pytest.mark.parametrize(
    ("scored", "trained", "found"),
    [
        (FILE, FILE, "same"),
        (FILE, f"{FILE}[:100]", "same"),
        (FILE, f"{FILE}, weights 0123456789ab", "same"),
        (FILE, f"{FILE}, tag names 0123456789ab[:5], teacher 0123456789ab 1", "same"),
        (f"{FILE}, tag names 0123456789ab", f"{FILE}, tag names ba9876543210", "same"),
        (FILE, f"{FILE} (train of {RULE})", "same"),
        (FILE, OTHER, None),
        (FILE, "", None),
        (f"{FILE} (train of {RULE})", f"{FILE} (train of {RULE})", "same"),
        (f"{FILE} (test of {RULE})", f"{FILE} (train of {RULE}), weights 0123456789ab", None),
        (f"{FILE} (test of {RULE})", f"{FILE} (train of {TWO})", "parts"),
        (f"{FILE} (test of {RULE})", FILE, "parts"),
        (f"{FILE} (test of {RULE})", f"{OTHER} (train of {RULE})", "changed"),
        (f"{FILE} (test of {RULE})", OTHER, None),
        ("commit:abc (train)", "commit:abc (train)[:5]", "same"),
        ("commit:abc (test)", "commit:abc (train)", None),
        ("commit:abc (de/train)", "commit:abc (en/train)", None),
        ("of a source outside the package", "of a source outside the package", "same"),
    ],
)
def test_what_two_fingerprints_tell(scored, trained, found):
    assert shared(scored, [trained]) == found


def test_an_ensemble_has_seen_what_any_of_its_members_has():
    assert shared(FILE, [OTHER, FILE]) == "same"
    assert shared(f"{FILE} (test of {RULE})", [FILE, f"{OTHER} (train of {RULE})"]) == "changed"
    assert shared(FILE, []) is None


@pytest.mark.parametrize(
    "file", [FILE, of_part(FILE, "train", RULE), of_hub_split("0123456789abcdef", "de/train")]
)
def test_what_follows_the_digest_stays_when_it_is_shortened(file):
    noted = with_note(file, "weights", "f" * 64)
    first = limited(noted, 300)
    taught = with_note(first, "teacher", "e" * 64, "0.5")
    assert len({shortened(each) for each in (file, noted, first, taught)}) == 4
    assert {digest_in(each) for each in (file, noted, first, taught)} == {digest_in(file)}
    assert len(digest_in(file)) >= 16
    assert shortened(taught).endswith(", weights ffffffffffff[:300], teacher eeeeeeeeeeee 0.5")
    assert len(shortened(file).partition(" ")[0].partition(":")[2]) == 12


def test_a_fingerprint_of_another_form_is_shown_whole():
    other = "of a source outside the package"
    assert (shortened(other), digest_in(other)) == (other, other)


@pytest.mark.parametrize("file", ["data/a (train part) of it.jsonl", "a.jsonl", "org/name@main:train (de)"])
def test_the_file_of_an_origin(file):
    assert file_in(file) == file_in(part_origin(file, "valid")) == file
