"""What a teacher says of sentences, window by window, in the student's order of tags."""

import pytest
import taggers
import tiny
import torch

from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference import scoring
from ner_lightning.inference.scoring import chunks
from ner_lightning.inference.teaching import taught


def test_windows_end_between_documents_where_they_can(monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 4)
    assert list(chunks([0, 0, 0, 1, 1, 2])) == [range(3), range(3, 6)]
    assert list(chunks([0, 0, 1, 1, 2])) == [range(4), range(4, 5)]
    assert list(chunks([0] * 6)) == [range(4), range(4, 6)]
    assert list(chunks([0, 0])) == [range(2)]
    assert list(chunks([])) == []


@pytest.mark.parametrize("use_crf", [True, False])
def test_every_sentence_is_taught_once_as_the_teacher_tags_it(llama, monkeypatch, use_crf):
    tagger = taggers.random_tagger(llama, use_crf=use_crf)
    words = [tuple(words) for words, _ in tiny.sentences(tiny.TRAIN)][:5]
    sentences = [Sentence(each, None, number // 2) for number, each in enumerate(words)]
    labels = LabelSet(tagger.labels.types[::-1])
    order = tagger.labels.encode(labels.tags)
    monkeypatch.setattr(scoring, "CHUNK", 2)
    found = list(taught(tagger, sentences, labels, 1.0))
    assert sorted(each.number for each in found) == list(range(5))
    for each in found:
        assert each.marginals.shape == (len(words[each.number]), len(labels))
        if use_crf:
            (expected,) = tagger(words=[words[each.number]], marginals=True)
            own = torch.from_numpy(expected.marginals)[:, order]
            torch.testing.assert_close(each.marginals, own, atol=1e-4, rtol=1e-4)


def test_a_teacher_of_other_types_is_refused(llama):
    tagger = taggers.random_tagger(llama)
    with pytest.raises(UserError, match="the student's data have PER;\nboth must have the same"):
        list(taught(tagger, [Sentence(("Vera",), None, 0)], LabelSet(("PER",)), 1.0))
