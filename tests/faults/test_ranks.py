"""Several real ranks: exact scores, failures with their reason, signals, and SLURM's environment."""

import os
import signal
import sys
import time

import pytest
from faults.places import CLI, OWN_AGAIN, Place, same
from shared import job

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "ner_lightning"]


def test_every_way_of_training_runs_on_two_ranks(tmp_path):
    found = job("modes", tmp_path / "work")
    assert len(found) >= 13
    assert found["full"]["trained"] > found["lora"]["trained"] > found["frozen"]["trained"]
    for mode in found.values():
        assert mode["log"].count("Loading ") == 1  # only rank 0 prints
        assert "unused" not in mode["log"]


@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
@pytest.mark.parametrize(("how", "rank"), [("error", 0), ("error", 1), ("SIGKILL", 1)])
def test_a_failing_rank_ends_the_others(place, launcher, how, rank):
    fail = {"name": "Fail", "step": 2, "how": how, "rank": rank}
    done = place.fit(fail, options=TWO, launcher=CLI if launcher == "lightning" else TORCHRUN)
    assert done.code != 0
    assert done.seconds < 60
    if how == "error":
        assert "ValueError: the reason of this rank" in done.said
    assert "Stopped" not in done.said


@pytest.fixture(scope="session")
def whole_on_two(tmp_path_factory, llama, data):
    place = Place(tmp_path_factory.mktemp("two"), llama, data)
    done = place.fit(options=TWO)
    assert done.code == 0, done.said
    return place.first


def wait_for(process, text):
    said = ""
    while text not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_sigterm_stops_all_ranks_after_the_same_step(place, whole_on_two, launcher):
    words = place.with_hooks({"name": "Slow", "seconds": 0.3})
    command = CLI if launcher == "lightning" else TORCHRUN
    with place.start("fit", "--config", "recipe.yaml", *words, *TWO, launcher=command) as process:
        wait_for(process, "parameters are trained")
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert "Stopped. Resume with: ner-lightning fit runs/recipe/1" in said
    assert process.returncode != 0
    assert "Traceback" not in said or launcher == "torchrun"  # torchrun shows its own
    done = place.run("fit", "--run", "runs/recipe/1", "--ckpt_path", "last", *OWN_AGAIN)
    assert done.code == 0, done.said
    assert [p.name for p in place.first.parent.iterdir()] == ["1"]
    same(whole_on_two, place.first)


def test_slurm_asks_for_time_and_the_job_goes_back_to_the_queue(place, whole_on_two):
    scontrol = place.folder / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $* >> {place.folder}/requeued\n")
    scontrol.chmod(0o755)
    words = place.with_hooks({"name": "Slow", "seconds": 0.3})
    slurm = {
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NAME": "ner",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
    }
    tasks = [
        place.start("fit", "--config", "recipe.yaml", *words, *TWO, SLURM_PROCID=n, SLURM_LOCALID=n, **slurm)
        for n in "01"
    ]
    wait_for(tasks[0], "parameters are trained")
    time.sleep(1.5)
    for task in tasks:
        task.send_signal(signal.SIGUSR1)
    said = [task.communicate(timeout=60)[0] for task in tasks]
    assert "Job 77 is requeued." in said[0]
    assert "Stopp" not in said[1]
    assert (place.folder / "requeued").read_text() == "requeue 77\n"
    assert [p.name for p in place.first.parent.iterdir()] == ["1"]
    done = place.run("fit", "--run", "runs/recipe/1", "--ckpt_path", "last", *OWN_AGAIN)
    assert done.code == 0, done.said
    same(whole_on_two, place.first)
