"""Teaching: a trained tagger's distributions over tag sequences, for a student to learn from."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import chunks, encodable, score
from ner_lightning.model.distillation import teach


class TeacherSentence(NamedTuple):
    """A teacher's distribution over the tag sequences of a sentence, on the CPU.

    Attributes:
        number: index of the sentence in what was given.
        marginals: probability of each tag at each word. *Shape:* (W, C)
        transitions: expected number of each transition. *Shape:* (C + 1, C + 1)
        entropy: in nats.
    """

    number: int
    marginals: Tensor
    transitions: Tensor
    entropy: float


def check_types(tagger: NERTagger, labels: LabelSet) -> Tensor:
    """The teacher's number of each of the student's tags. *Shape:* (C,).

    Raises:
        UserError: the teacher has other entity types.
    """
    own = tagger.labels
    if set(own.types) != set(labels.types):
        raise UserError(
            f"the teacher knows {', '.join(own.types)}, but the student's data have "
            f"{', '.join(labels.types)};\nboth must have the same entity types"
        )
    return torch.tensor(own.encode(labels.decode(list(range(len(labels))))))


@torch.inference_mode()
def taught(
    tagger: NERTagger, sentences: Sequence[Sentence], labels: LabelSet, temperature: float
) -> Iterator[TeacherSentence]:
    """What a tagger says of sentences, a few thousand at a time, in any order within these.

    Args:
        tagger: the teacher.
        sentences: those of a document follow each other, and are read as the teacher reads documents.
        labels: the student's.
        temperature: divides the teacher's scores.

    Raises:
        UserError: the teacher has other entity types.
    """
    order, decoder = check_types(tagger, labels), tagger.tagger.decoder
    documents = [sentence.document for sentence in sentences]
    words = [encodable(sentence.words) for sentence in sentences]
    for chunk in chunks(documents):
        part = slice(chunk.start, chunk.stop)
        for indices, emissions, mask in score(tagger.tagger, tagger.encoder, words[part], documents[part]):
            sums = teach(decoder.crf, emissions, mask, labels, order.to(mask.device), temperature)
            lengths, marginals = mask.sum(1).tolist(), sums.marginals.float().cpu()
            transitions, entropy = sums.transitions.float().cpu(), sums.entropy.tolist()
            for row, index in enumerate(indices):
                own = marginals[row, : lengths[row]]
                yield TeacherSentence(chunk.start + index, own, transitions[row], entropy[row])
