"""A batch that goes wrong: out of memory, a NaN loss."""

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_out_of_memory_names_the_batch_and_what_to_lower(place, data):
    long = "\n".join(f"word{i} O" for i in range(400))
    text = (data / "train.txt").read_text()
    (place.folder / "train.txt").write_text("\n\n".join([text.strip(), *[long] * 40]) + "\n")
    limit = {"name": "LimitMemory", "step": 15, "more": 4_000_000}
    options = ("--data.train", "train.txt", "--data.batches.size", "20", "--trainer.max_epochs", "9")
    done = place.fit(limit, options=options)
    assert done.code == 2, done.said
    assert "out of memory in a batch of 20 sentences of up to 400 words" in done.said
    assert "Lower data.batches.size (now 20) or set data.batches.tokens below" in done.said
    assert "The last good checkpoint is runs/recipe/1/checkpoints/last.ckpt, after step" in done.said
    assert "Traceback" not in done.said


@pytest.mark.parametrize("world", [1, 2])
def test_a_loss_that_is_no_number_stops_with_its_sentences(place, world):
    poison = {"name": "Poison", "step": 18 // world, "rank": world - 1}
    ranks = ("--trainer.devices", "2", "--trainer.strategy", "ddp") if world == 2 else ()
    done = place.fit(poison, options=ranks)
    assert done.code == 2, done.said
    assert f"the loss is NaN or infinite at step {18 // world + 1}, epoch 2" in done.said
    assert done.said.count("its batch holds the training sentences ") in (1, world)
    named = done.said.partition("holds the training sentences ")[2].partition(" (from 0)")[0].split(", ")
    assert len(named) == 4  # of the rank whose loss it was
    assert all(0 <= int(number) < 32 for number in named)
    assert f"last.ckpt, after step {16 // world}:" in done.said
    assert "Traceback" not in done.said
