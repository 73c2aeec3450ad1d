"""W&B that cannot be reached, dies or hangs: training ends as without it."""

import json

import pytest
from faults.places import OWN_AGAIN, same

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
LOGGER = ("--trainer.logger=lightning.pytorch.loggers.WandbLogger", "--trainer.logger.project=trial")


def test_a_server_that_cannot_be_reached(place, whole):
    environment = {
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_INIT_TIMEOUT": "5",
    }
    done = place.fit(options=LOGGER, **environment)
    assert done.code == 0, done.said
    assert "W&B cannot be reached, so it logs offline" in done.said
    assert list(place.first.glob("wandb/offline-run-*"))
    assert "0" * 40 not in done.said
    same(whole, place.first)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_process_of_wandbs_that_dies_or_hangs(place, whole, how):
    done = place.fit({"name": "StopWandb", "step": 9, "how": how}, options=LOGGER)
    assert done.code == 0, done.said
    assert done.seconds < 60
    same(whole, place.first)


def test_a_killed_run_stays_the_same_run(place, whole):
    kill = {"name": "Fail", "step": 13, "how": "SIGKILL"}
    done = place.fit(kill, options=LOGGER)
    assert done.code == -9
    identity = json.loads((place.first / "run.json").read_text())["wandb_id"]
    callbacks = place.folder / "none.yaml"
    callbacks.write_text("trainer:\n  callbacks: null\n")
    done = place.run("fit", "--run", str(place.first), "--ckpt_path", "last", *OWN_AGAIN)
    assert done.code == 0, done.said
    assert json.loads((place.first / "run.json").read_text())["wandb_id"] == identity
    assert {p.name.rpartition("-")[2] for p in place.first.glob("wandb/offline-run-*")} == {identity}
    same(whole, place.first)
