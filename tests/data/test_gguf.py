"""GGUF files are read once, and by slices of a plain array."""

import threading

import gguf
import numpy as np

from ner_lightning.data.gguf import forget, read_once


def test_readers_within_readers_and_in_threads_leave_the_package_as_it_was(tmp_path):
    before = gguf.GGUFReader
    others, left = threading.Barrier(4), []

    def read():
        with read_once(), read_once():
            left.append(gguf.GGUFReader is before)
            others.wait(10)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    others.wait(10)
    for thread in threads:
        thread.join()
    assert left == [False] * 3
    assert gguf.GGUFReader is before


def test_a_file_is_read_once_and_holds_the_same(tmp_path):
    file = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "bc", "Straße"])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
    writer.add_array("tokenizer.ggml.token_type", [1, 2, 3])
    writer.add_array("flags", [True, False])
    writer.add_array("one", ["x"])
    writer.add_array("nested", [[1, 2], [3, 4]])
    writer.add_string("general.name", "small")
    writer.add_tensor("weight", np.arange(64, dtype=np.float32).reshape(8, 8))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    before = gguf.GGUFReader
    plain = before(file)
    with read_once():
        read = gguf.GGUFReader(file)
        assert gguf.GGUFReader(file) is read
    with read_once():  # the tokenizer's turn, say, and then that of the weights
        assert gguf.GGUFReader(file) is read
    assert gguf.GGUFReader is before
    forget()
    assert {name: field.contents() for name, field in read.fields.items()} == {
        name: field.contents() for name, field in plain.fields.items()
    }
    for name, field in read.fields.items():
        expected = plain.fields[name]
        assert (field.types, field.data) == (expected.types, expected.data)
        for part, same in zip(field.parts, expected.parts, strict=True):
            assert part.dtype == same.dtype
            assert np.array_equal(part, same)
    (one,), (other,) = read.tensors, plain.tensors
    assert np.array_equal(one.data, other.data)
    assert type(one.data) is np.ndarray, "slices of numpy.memmap are slow to make"
