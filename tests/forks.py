"""Runs the command in forked processes, as one rank or as several; for scripts that tests start.

A script imports everything once and forks for each run, so that a run starts at once. It must not have
computed anything with torch before, because threads do not survive a fork.
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", CUDA_VISIBLE_DEVICES="")
os.environ.update(JSONARGPARSE_DEPRECATION_WARNINGS="off", OMP_NUM_THREADS="1")
sys.path.insert(0, str(Path(__file__).parent))

import peft  # noqa: F401  (these are imported so that no fork need do it)
import seqeval.metrics  # noqa: F401
import torch
import transformers.models.llama.modeling_llama  # noqa: F401

import ner_lightning.commands.fit  # noqa: F401
from ner_lightning.commands.lightning_cli import preflight
from ner_lightning.commands.main import main

RANKS = ["--trainer.strategy", "ddp", "--trainer.accelerator", "cpu", "--trainer.devices"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    folder: Path,
    words: list[str],
    log: Path,
    before: Callable[[int], None] = lambda rank: None,
    world: int = 1,
    torchrun: bool = False,
) -> list[int]:
    """Starts the command on some ranks, each a process, and returns their numbers.

    Args:
        folder: the working folder.
        words: the command's words.
        log: a file that all that is printed goes to.
        before: called in each process with its rank, to patch things.
        world: how many ranks.
        torchrun: whether they find the environment that torchrun sets, and no options that name them.
    """
    port = str(free_port())
    return [_fork(folder, words, log, before, rank, world, port, torchrun) for rank in range(world)]


def _fork(folder, words, log, before, rank, world, port, torchrun) -> int:
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.chdir(folder)
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        torch.set_num_threads(1)
        if world > 1:
            os.environ.update(
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(world),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            )
            if torchrun:
                os.environ.update(TORCHELASTIC_RUN_ID="1", RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
            else:
                os.environ["NODE_RANK"] = "0"
                words = [*words, *RANKS, str(world)]
            preflight.usable_cores = lambda: world  # more ranks than cores are slow, but right
        before(rank)
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait(processes: list[int]) -> list[int]:
    """Exit codes; minus the signal's number for what was killed."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def run(
    folder: Path, words: list[str], log: Path, world: int = 1, before=lambda rank: None, torchrun=False
) -> None:
    """Runs the command to its end, which must be a good one."""
    codes = wait(start(folder, words, log, before, world, torchrun))
    assert codes == [0] * world, f"{words} on {world} ranks: {codes}\n{log.read_text()[-3000:]}"
