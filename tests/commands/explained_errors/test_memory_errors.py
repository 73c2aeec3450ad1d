"""Memory that runs out, in any command: which option to lower, and how to resume."""

import errno

import pytest
import torch

from ner_lightning.commands import main as command_line
from ner_lightning.commands.main import main
from ner_lightning.system.out_of_memory import out_of_memory

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
FORMS = [
    (GPU, "GPU"),
    (torch.OutOfMemoryError(), "GPU"),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), "GPU"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "GPU"),
    (RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"), "GPU"),
    (RuntimeError("HIPBLAS_STATUS_ALLOC_FAILED"), "GPU"),
    (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "GPU"),
    (RuntimeError("worker 1 of 2:\nTraceback ...\ntorch.OutOfMemoryError: CUDA out of memory."), "GPU"),
    (RuntimeError("worker 1 of 2:\nTraceback ...\nMemoryError\n"), "CPU"),
    (RuntimeError("worker 1 of 2:\nTraceback ...\nnumpy._core._exceptions._ArrayMemoryError: Unable"), "CPU"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), "CPU"),
    (RuntimeError("unable to mmap 8 bytes from file <x>: Cannot allocate memory (12)"), "CPU"),
    (RuntimeError("std::bad_alloc"), "CPU"),
    (MemoryError(), "CPU"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "CPU"),
    (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), None),
    (OSError(errno.ENOENT, "No such file or directory"), None),
    (ValueError("out of memory"), None),
]


@pytest.mark.parametrize(("error", "where"), FORMS)
def test_errors_of_memory_are_recognised(error, where):
    assert out_of_memory(error) == where


@pytest.mark.parametrize("error", [GPU, MemoryError()])
@pytest.mark.parametrize(
    ("words", "lower", "on_cpu"),
    [
        (["baseline"], "Lower --batch_size, --shots or --max_new_tokens", "--device cpu"),
        (["predict"], "Give fewer --workers", "--device cpu"),
        (["distill"], "Give less --text", "--device cpu"),
        (["test"], "Lower data.batches.eval_size", "--trainer.accelerator cpu"),
        (["validate"], "Lower data.batches.eval_size", "--trainer.accelerator cpu"),
        (["data", "audit"], "Free some memory", "CUDA_VISIBLE_DEVICES=''"),
        (["data", "split"], "Free some memory", None),
        (["export"], "Free some memory", None),
    ],
)
def test_every_command_says_what_to_lower(monkeypatch, capsys, words, lower, on_cpu, error):
    def failing(command, rest):
        raise error

    monkeypatch.setattr(command_line, "_run", failing)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ner-lightning: out of memory{' on the GPU' * (error is GPU)}.\n{lower}")
    assert said.count("\n") <= 3
    if on_cpu is not None:
        assert (on_cpu in said) == (error is GPU)
    assert ("The same command resumes" in said) == (words in (["predict"], ["data", "audit"]))
