"""What two and three ranks must have in common with one, and what launchers say of this process."""

import signal
import threading
from types import SimpleNamespace

import pytest
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from shared import job

from ner_lightning.errors import Interrupted, UserError
from ner_lightning.runs.folder import Run
from ner_lightning.system.first_rank import is_first
from ner_lightning.training import ranks
from ner_lightning.training.callbacks import graceful_stop
from ner_lightning.training.callbacks.graceful_stop import GracefulStop
from ner_lightning.training.launch import LaunchError, drawn_seed, launch, use_all_ranks
from ner_lightning.training.ranks import exit_code, explain_lost, prefix


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


@pytest.mark.slow
def test_two_ranks_of_half_a_batch_follow_one_of_a_whole_batch(tmp_path):
    found = job("steps", tmp_path / "work")
    assert found["dtypes"] == ["torch.float64"]
    assert found["steps"] == 20
    assert found["norms"] < 1e-8
    assert found["weights"] < 1e-8


@pytest.mark.slow
def test_a_step_of_several_batches_is_that_of_a_whole_one(tmp_path):
    found = job("accumulation", tmp_path / "work")
    assert max(found["accumulated"]) < 1e-9, found["accumulated"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_torchrun_on_a_recipe_of_one_device_trains_and_tests_on_all_ranks(tmp_path):
    found = job("torchrun", tmp_path / "work")
    assert found["fit"]["codes"] == [0, 0]
    assert found["fit"]["log"].count("torchrun started 2 processes: DDP uses them all") == 1
    assert found["steps"] == 4  # 32 sentences, 2 ranks of 4 a step
    assert found["runs"] == ["runs/recipe/1"]
    assert found["run.json"]["ranks"] == 2
    assert found["devices"] == "1"  # the recipe as it was written
    assert found["test"]["codes"] == [0, 0]
    assert found["sentences"] == 5
    for refused, text in [
        ("predict", "`ner-lightning predict` works in one process, but torchrun started 2"),
        ("spawn", "trainer.strategy ddp_spawn starts processes of its own"),
    ]:
        assert found[refused]["codes"] == [2, 2]
        assert found[refused]["log"].count("ner-lightning: ") == 1  # on the first rank alone
        assert text in found[refused]["log"]


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "2"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TORCHRUN, ("torchrun", 4, 2)),
        (TORCHRUN | {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, None),
        (TORCHRUN | {"NER_LIGHTNING_RUN": "runs/x/1"}, None),  # within a rank
        (SRUN, ("srun", 4, 2)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # a batch script, without srun
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_NAME": "bash"}, None),
        (SRUN | {"SLURM_JOB_NAME": "bash"}, "name the job otherwise"),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_NNODES": "2"}, "start them with --ntasks-per-node 2"),
        (TORCHRUN | {"WORLD_SIZE": "3"}, "not the same number on each node"),
    ],
)
def test_what_launched_this_process(environment, found):
    if isinstance(found, str):
        with pytest.raises(LaunchError, match=found):
            launch(environment)
    else:
        assert launch(environment) == found


@pytest.mark.parametrize(
    ("devices", "nodes", "said"),
    [(1, 1, True), (2, 1, True), (1, 2, True), (2, 2, False), ("auto", 2, False), ([0, 3], 2, False)],
)
def test_a_trainer_uses_the_ranks_that_there_are(monkeypatch, devices, nodes, said):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    trainer = SimpleNamespace(strategy="auto", devices=devices, num_nodes=nodes)
    assert (use_all_ranks(trainer) is not None) == said
    assert trainer.devices == (devices if isinstance(devices, list) else 2)
    assert trainer.num_nodes == 2


def test_one_device_by_number_on_each_node(monkeypatch):
    for name, value in (TORCHRUN | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}).items():
        monkeypatch.setenv(name, value)
    trainer = SimpleNamespace(strategy="auto", devices="0,", num_nodes=2)
    assert use_all_ranks(trainer) is None
    assert (trainer.devices, trainer.num_nodes) == ("0,", 2)


def test_devices_by_number_that_are_not_as_many_as_the_ranks_are_refused(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    trainer = SimpleNamespace(strategy="auto", devices="0,1,2", num_nodes=2)
    with pytest.raises(LaunchError, match="names 3 devices, but torchrun started 2 processes on each node"):
        use_all_ranks(trainer)


@pytest.mark.parametrize(
    ("environment", "devices", "nodes", "refused"),
    [
        ({"SLURM_NTASKS": "1"}, 2, 1, True),
        ({"SLURM_NTASKS": "2"}, 1, 1, True),
        ({"SLURM_NTASKS": "1"}, 1, 2, True),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, [0, 1], 1, True),
        ({"SLURM_NTASKS": "1"}, 1, 1, False),
        ({"SLURM_NTASKS": "1"}, "auto", 1, False),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "interactive"}, 2, 1, False),
        ({"SLURM_NTASKS": "2", "NER_LIGHTNING_RUN": "runs/x/1"}, 2, 1, False),
        ({}, 2, 1, False),
    ],
)
def test_a_batch_job_without_srun_has_one_device(monkeypatch, environment, devices, nodes, refused):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    trainer = SimpleNamespace(strategy="auto", devices=devices, num_nodes=nodes, accelerator="cpu")
    if refused:
        with pytest.raises(LaunchError, match="start one process for each device with srun"):
            use_all_ranks(trainer)
    else:
        assert use_all_ranks(trainer) is None


def test_slurm_is_asked_for_what_its_plugin_says(monkeypatch, tmp_path):
    requeued = []
    monkeypatch.setattr(graceful_stop, "_requeue", lambda: requeued.append(True))
    module = SimpleNamespace()
    for auto, number, times in ((True, signal.SIGUSR2, 1), (False, signal.SIGUSR2, 0), (True, None, 0)):
        cluster = SLURMEnvironment(auto_requeue=auto, requeue_signal=number)
        connector = SimpleNamespace(cluster_environment=cluster)
        state = SimpleNamespace(fn="fit")
        trainer = SimpleNamespace(_accelerator_connector=connector, state=state, is_global_zero=False)
        stop = GracefulStop(Run(tmp_path))
        stop.on_train_start(trainer, module)
        assert (signal.getsignal(signal.SIGUSR2) == stop._ask) == (number is not None)
        stop.on_exception(trainer, module, Interrupted(signal.SIGUSR2))
        assert len(requeued) == times
        requeued.clear()
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


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
        ({"JSM_NAMESPACE_RANK": "3"}, False, "[rank 3] "),
    ],
)
def test_which_process_is_the_first(environment, first, said):
    assert is_first(environment) == first
    assert prefix(environment) == said


@pytest.mark.parametrize(
    ("environment", "draws"),
    [
        ({}, True),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, True),  # a batch script, without srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, True),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "0"}, False),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, True),  # which Lightning does not join
        ({"JSM_NAMESPACE_RANK": "0"}, False),  # of nobody knows how many
    ],
)
def test_a_seed_is_drawn_where_no_other_rank_needs_it(monkeypatch, environment, draws):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if draws:
        assert 0 <= drawn_seed() < 2**31
    else:
        with pytest.raises(UserError, match="each rank would draw another seed"):
            drawn_seed()


def test_what_only_says_that_another_rank_ended(monkeypatch):
    error = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:4242")
    assert explain_lost(error) is None
    monkeypatch.setenv("SLURM_NTASKS", "2")  # of a batch script, which is one process
    assert explain_lost(error) is None
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert explain_lost(error).startswith("another rank ended; see its message. If it has none")
    assert explain_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    monkeypatch.setenv("MASTER_PORT", "29777")
    taken = "TCPStore: failed to listen. port: 29777, code: -98, name: EADDRINUSE"
    assert "the port 29777 is in use on this machine" in explain_lost(RuntimeError(taken))
    monkeypatch.setenv("RANK", "1")
    assert exit_code(KeyboardInterrupt()) == 0


@pytest.mark.slow
def test_a_student_learns_the_same_on_two_ranks(tmp_path):
    found = job("distilled", tmp_path / "work")
    assert found["weights"] < 1e-8
    assert found["steps"] == 18  # of 32 sentences and 2 untagged ones, twice
    for log in found["logs"]:  # the first rank alone writes what the teacher says
        assert log.count("The teacher reads 32 training sentences and 2 untagged ones ...") == 1


@pytest.mark.parametrize("error", [UserError("the disk is full"), RuntimeError("the disk is full")])
def test_ranks_that_wait_for_the_first_end_with_it(tmp_path, monkeypatch, error):
    monkeypatch.setattr(ranks, "WAITED", 0.01)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    file, failure = tmp_path / "teachers" / "key" / "about.json", tmp_path / "teachers" / "key.failed"
    with pytest.raises(type(error)), ranks.failing_together(failure):
        raise error
    with pytest.raises(UserError, match=r"the first rank failed: .*the disk is full"):
        ranks.await_first(file, failure)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # what an earlier launch left is no failure of this one
    file.parent.mkdir()
    threading.Timer(0.1, file.touch).start()
    ranks.await_first(file, failure)
    with ranks.failing_together(failure):
        pass
    assert not failure.exists()
