"""Times our CRF against pytorch-crf, side by side on one thread: `python benchmarks/crf.py`.

Both see the same batch, in alternating order, so that what else the machine does falls on both. The
ratio is that of the medians; the spread is the middle half of the ratios of single rounds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import measure
import torch
import torchcrf  # type: ignore[import-untyped]

from ner_lightning.model.crf.layer import CRF


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def compare(
    name: str, theirs: Callable[[], object], ours: Callable[[], object], rounds: int
) -> measure.Rounds:
    """Times both; milliseconds of each round, and the ratio of the medians with the middle half of ratios."""
    for work in (theirs, ours) * 5:
        work()
    pairs = []
    for at in range(rounds):
        if at % 2:
            right = milliseconds(ours)
            pairs.append((milliseconds(theirs), right))
        else:
            left = milliseconds(theirs)
            pairs.append((left, milliseconds(ours)))
    left, right = (statistics.median(times) for times in zip(*pairs, strict=True))
    low, _, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    ratios = [a / b for a, b in pairs]
    print(
        f"{name:18} pytorch-crf {left:7.2f} ms   ours {right:7.2f} ms   "
        f"{left / right:5.2f} times as fast ({low:.2f} to {high:.2f})"
    )
    return {
        f"{name}, pytorch-crf, ms": [a for a, _ in pairs],
        f"{name}, ours, ms": [b for _, b in pairs],
        f"{name}, times as fast": ratios,
    }


def main(args: Sequence[str] | None = None) -> None:
    """Time a training step's likelihood, its value alone, and decoding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--words", type=int, default=40, help="in the longest sentence")
    parser.add_argument("--tags", type=int, default=9)
    parser.add_argument("--spread", type=float, default=1.0, help="standard deviation of emissions")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    b, w, c = options.sentences, options.words, options.tags
    lengths = torch.randint(1, w + 1, (b, 1))
    lengths[0] = w
    mask = torch.arange(w) < lengths  # (B, W)
    tags = torch.randint(0, c, (b, w))
    emissions = (torch.randn(b, w, c) * options.spread).requires_grad_()
    theirs, ours = torchcrf.CRF(c, batch_first=True), CRF(c)
    ours.load_state_dict(theirs.state_dict())

    def step(crf: torch.nn.Module, likelihood: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def work() -> None:
            emissions.grad = None
            crf.zero_grad()
            torch.autograd.backward(-likelihood())

        return work

    def their_value() -> torch.Tensor:
        value: torch.Tensor = theirs(emissions, tags, mask, reduction="sum")
        return value

    def our_value() -> torch.Tensor:
        return ours.log_likelihood(emissions, tags, mask).sum()

    print(f"B={b} W={w} C={c} fp32, {options.threads} thread(s), median of {options.rounds} rounds")
    found = compare("forward + backward", step(theirs, their_value), step(ours, our_value), options.rounds)
    with torch.no_grad():
        found |= compare("forward", their_value, our_value, options.rounds)
        found |= compare(
            "decode",
            lambda: theirs.decode(emissions, mask),
            lambda: ours.decode(emissions, mask),
            options.rounds,
        )
    measure.report(
        found,
        kind="crf speed",
        script="crf.py",
        words=words,
        record=options.record,
        config=f"{b} sentences, up to {w} words, {c} tags",
    )


if __name__ == "__main__":
    main()
