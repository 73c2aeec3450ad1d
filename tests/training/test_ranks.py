"""What two and three ranks must have in common with one, and what launchers say of this process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ner_lightning.training.ranks import exit_code, is_first, lost_another, prefix

JOBS = Path(__file__).parent.parent / "rank_jobs.py"


def job(name, folder):
    done = subprocess.run([sys.executable, JOBS, name, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_scores_are_the_same_on_any_number_of_ranks(tmp_path):
    found = job("metrics", tmp_path / "work")
    settings = {name.rpartition(", ")[0] for name in found}
    assert len(settings) == 10
    plain = {split: found[f"length-grouped, {split}, 1"] for split in ("valid", "test")}
    assert any(row["correct"] for row in plain["valid"]["counts"].values())  # there is something to count
    assert all(split["counts"]["FIRM"]["gold"] == 1 for split in plain.values())  # unknown to training
    for setting in settings:
        one, two, three = (found[f"{setting}, {world}"] for world in (1, 2, 3))
        assert one["sentences"] == list(range(7 if "valid" in setting else 5))
        for other in (two, three):
            for part in ("counts", "sentences", "predicted", "conll", "files"):
                assert other[part] == one[part], (setting, part)
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-6)


def test_two_ranks_of_half_a_batch_follow_one_of_a_whole_batch(tmp_path):
    found = job("steps", tmp_path / "work")
    assert found["dtypes"] == ["torch.float64"]
    assert found["steps"] == 20
    assert found["norms"] < 1e-8
    assert found["weights"] < 1e-8
    assert max(found["accumulated"]) < 1e-9, found["accumulated"]


def test_every_epoch_trains_on_each_sentence_once_and_is_validated(tmp_path):
    found = job("epochs", tmp_path / "work")
    for world in ("1", "2", "3"):
        ranks = found[world]
        assert [rank["validated"] for rank in ranks] == [list(range(8))] * int(world)
        counts = {
            sum(epoch == number for epoch, _ in rank["batches"]) for rank in ranks for number in range(8)
        }
        assert len(counts) == 1, (world, counts)
        for number in range(8):
            seen = [i for rank in ranks for epoch, index in rank["batches"] if epoch == number for i in index]
            assert sorted(seen) == list(range(len(seen))), (world, number)
            assert len(seen) > 100


@pytest.mark.parametrize(
    ("environment", "first", "said"),
    [
        ({}, True, ""),
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "3"}, True, ""),  # torchrun within a SLURM step
        ({"RANK": "5", "LOCAL_RANK": "1"}, False, "[rank 5] "),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False, "[rank 1] "),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False, "[rank 0] "),
        ({"NODE_RANK": "1"}, False, "[rank ?] "),
        ({"SLURM_PROCID": "0"}, True, ""),
        ({"SLURM_PROCID": "2"}, False, "[rank 2] "),
    ],
)
def test_which_process_is_the_first(environment, first, said):
    assert is_first(environment) == first
    assert prefix(environment) == said


def test_what_only_says_that_another_rank_ended(monkeypatch):
    error = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:4242")
    assert not lost_another(error)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert lost_another(error)
    assert not lost_another(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    monkeypatch.setenv("RANK", "1")
    assert exit_code(KeyboardInterrupt()) == 0
