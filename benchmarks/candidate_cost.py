"""What `min_score` costs: python benchmarks/candidate_cost.py.

Prediction of sentences with and without it, in alternating order; and the decoding alone of one batch: the
best tag sequence with the probabilities of its entities, beside the search for every entity of at least a
probability. The head is random, so it finds more candidates than a trained one, which costs time.
"""

import sys
import time
from collections.abc import Callable, Sequence

import measure
import torch
from recipe_tagger import Recipe, options_of

from ner_lightning.data.schemes import LabelSet
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.decoder import Decoder

LEAST = (0.5, 0.05, 0.001)
SHAPES = ((32, 30, 4), (32, 30, 18))  # sentences, words, entity types


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    words = list(sys.argv[1:] if args is None else args)
    options = options_of(__doc__, sentences=300, rounds=5).parse_args(words)
    recipe = Recipe(options)
    built = recipe.tagger(mergeable=True)
    built.emitter.merge()
    tagger = NERTagger(built, recipe.data.corpus.encoder)
    sentences = [sentence.words for sentence in recipe.data.corpus.split("valid").sentences]

    def seconds(least: float | None) -> Callable[[], float]:
        return lambda: timed(lambda: tagger(words=sentences, min_score=least))

    without = "prediction without min_score, seconds"
    sides = {without: seconds(None)} | {f"prediction, min_score {x}, seconds": seconds(x) for x in LEAST}
    found = measure.alternate(sides, options.rounds)
    for least in LEAST:
        name = f"prediction, min_score {least}, seconds"
        found[f"min_score {least}: times the seconds without"] = measure.ratio(found, name, without)
    for shape in SHAPES:
        found |= measure.alternate(decoding(*shape), options.rounds)
    measure.report(
        found,
        kind="cost of candidates",
        script="candidate_cost.py",
        words=words,
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return 0


def timed(work: Callable[[], object]) -> float:
    """How many seconds one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decoding(sentences: int, words: int, types: int) -> dict[str, Callable[[], float]]:
    """Milliseconds of decoding a batch: the best tag sequence, and candidates at each threshold."""
    torch.manual_seed(0)
    decoder = Decoder(LabelSet(tuple(map(str, range(types)))))
    emissions = 5 * torch.randn(sentences, words, 1 + 2 * types)
    emissions[..., 0] += 10  # most words are in no entity
    mask = torch.arange(words) < torch.randint(words // 2, words + 1, (sentences, 1))
    mask[0] = True

    def best() -> None:
        decoder.entities(emissions, mask, decoder.decode(emissions, mask))

    def candidates(least: float) -> Callable[[], float]:
        return lambda: 1000 * timed(lambda: decoder.candidates(emissions, mask, [least] * types))

    size = f"{sentences} sentences of up to {words} words, {types} types"
    return {f"{size}: best tag sequence, ms": lambda: 1000 * timed(best)} | {
        f"{size}: candidates of {least}, ms": candidates(least) for least in LEAST
    }


if __name__ == "__main__":
    sys.exit(main())
