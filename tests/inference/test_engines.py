"""OpenVINO computes what PyTorch computes; which of them runs is asked for, or measured at export."""

import copy
import ctypes
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys

import numpy
import pytest
import tiny
import torch
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.data.batching import collate
from ner_lightning.data.tokenization.exported import ExportedTokenizer, is_exported_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.export import exported_folder
from ner_lightning.export.exported_folder import export
from ner_lightning.inference.engines import choice, timing
from ner_lightning.inference.engines.choice import faster, place
from ner_lightning.inference.engines.openvino import OpenVINOEmitter
from ner_lightning.inference.loading import read_folder
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.runs.folder import MANIFEST

WORDS = [words for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]
LONG = [word for words in WORDS for word in words] * 4  # more sub-tokens than a window has
MEASURED = {
    "torch": {"sentence_ms": 10.0, "words_per_second": 900.0, "threads": 2},
    "openvino": {"sentence_ms": 5.0, "words_per_second": 800.0, "threads": 2},
}


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folders(llama, tmp_path_factory):
    """Exported folders with a graph, whose engines have invented figures: with a CRF, and with a softmax."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported_folder, "measure_engines", lambda folder, trust: MEASURED)
        for name in ("crf", "softmax"):
            where = tmp_path_factory.mktemp(name)
            run = write_checkpoint(where, llama, peft="lora", lora={"rank": 2}, use_crf=name == "crf")
            made[name] = export(str(run), where / "out", format="openvino")
    return made


def emissions(tagger, sentences):
    """Each word's scores, of sentences in one batch."""
    batch = collate(list(tagger.encoder.encode(sentences)), tagger.encoder.pad_id)
    with torch.inference_mode():
        return tagger.tagger(batch)[batch.mask]


@pytest.mark.parametrize("name", ["crf", "softmax"])
def test_openvino_computes_what_pytorch_computes(folders, name):
    ours, theirs = (NERTagger.from_run(str(folders[name]), engine=e) for e in ("torch", "openvino"))
    sentences = [*WORDS, LONG]
    expected = emissions(ours, sentences)
    torch.testing.assert_close(emissions(theirs, sentences), expected, atol=1e-3, rtol=0)
    pairs = list(zip(ours(words=sentences), theirs(words=sentences), strict=True))
    assert any(one.entities for one, _ in pairs)
    for one, other in pairs:
        assert one.tags == other.tags
        assert [e.score for e in other.entities] == pytest.approx([e.score for e in one.entities], abs=1e-3)


def test_neither_padding_nor_the_batch_changes_anything(folders):
    tagger = NERTagger.from_run(str(folders["crf"]), engine="openvino")
    together = emissions(tagger, WORDS)
    alone = torch.cat([emissions(tagger, [words]) for words in WORDS])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)
    backwards = torch.cat([*reversed(emissions(tagger, WORDS[::-1]).split([len(w) for w in WORDS[::-1]]))])
    torch.testing.assert_close(backwards, together, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_in_bf16_probabilities_stay_close(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(exported_folder, "measure_engines", lambda folder, trust: MEASURED)
    run, handlers = write_checkpoint(tmp_path, llama), list(logging.root.handlers)
    folder = export(str(run), tmp_path / "out", format="openvino", dtype="bfloat16")
    assert logging.root.handlers == handlers
    sizes = [(folder / name).stat().st_size for name in ("openvino.bin", "model.safetensors")]
    assert sizes[0] < 1.2 * sizes[1], "two bytes for each weight"
    ours, theirs = (NERTagger.from_run(str(folder), engine=e) for e in ("torch", "openvino"))
    one, other = (t(words=WORDS, marginals=True) for t in (ours, theirs))
    gap = max(abs(a.marginals - b.marginals).max() for a, b in zip(one, other, strict=True))
    assert gap < 0.02


def test_what_was_compiled_is_kept_for_this_state_of_the_folder(folders, tmp_path):
    kept = tmp_path / "cache/ner-lightning/openvino"
    folder = shutil.copytree(folders["crf"], tmp_path / "folder")
    first = emissions(NERTagger.from_run(str(folder), engine="openvino"), WORDS)
    (compiled,) = kept.iterdir()
    blobs = {file.name: file.stat().st_mtime_ns for file in compiled.iterdir()}
    assert blobs
    again = NERTagger.from_run(str(folder), engine="openvino")
    assert torch.equal(emissions(again, WORDS), first)
    assert {file.name: file.stat().st_mtime_ns for file in compiled.iterdir()} == blobs
    for file in compiled.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(emissions(NERTagger.from_run(str(folder), engine="openvino"), WORDS), first)
    other = numpy.fromfile(folder / "openvino.bin", dtype=numpy.float32)  # the same graph with other weights
    weights = (abs(other) > 1e-3) & (abs(other) < 1)
    other[weights] *= 1.5
    other.tofile(folder / "openvino.bin")
    changed = emissions(NERTagger.from_run(str(folder), engine="openvino"), WORDS)
    assert not torch.allclose(changed, first)
    assert len(list(kept.iterdir())) == 2
    shutil.rmtree(kept)
    kept.write_text("no folder")
    assert torch.equal(emissions(NERTagger.from_run(str(folder), engine="openvino"), WORDS), changed)


def test_the_faster_engine_is_taken(folders):
    files = read_folder(folders["crf"])
    assert place(files, None, "auto") == ("cpu", "openvino")
    assert place(files, None, "auto", bulk=True) == ("cpu", "torch")
    assert place(files, "cpu", "torch") == ("cpu", "torch")
    assert type(NERTagger.from_run(str(folders["crf"])).tagger.emitter).__name__ == "OpenVINOEmitter"
    assert faster({}, bulk=False) == "torch", "nothing was measured"


def test_without_the_package_pytorch_runs_the_folder(folders, monkeypatch):
    files = read_folder(folders["crf"])
    monkeypatch.setattr(choice, "installed", lambda *_: False)
    assert place(files, None, "auto") == ("cpu", "torch")
    monkeypatch.setattr("ner_lightning.inference.engines.packages.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs openvino, .*\n.*'ner-lightning\[openvino\]'"):
        place(files, None, "openvino")


def test_what_has_no_graph_says_how_to_get_one(llama, folders, tmp_path, capsys):
    run = write_checkpoint(tmp_path, llama)
    assert main(["predict", str(run), "--engine", "openvino", "--text", "Vera"]) == 2
    assert f"export {run} --output DIR --format openvino" in capsys.readouterr().err
    assert (
        main(["predict", str(folders["crf"]), "--engine", "openvino", "--device", "mps", "--text", "a"]) == 2
    )
    with pytest.raises(UserError, match="runs on the CPU; leave out --device cuda, or --engine"):
        place(read_folder(folders["crf"]), "cuda", "openvino")
    assert main(["predict", str(run), str(run), "--engine", "torch", "--text", "Vera"]) == 2
    assert "--engine is for one RUN" in capsys.readouterr().err


def test_a_folder_without_its_graph_is_not_complete(folders, tmp_path):
    manifest = (folders["crf"] / MANIFEST).read_text(encoding="utf-8")
    (tmp_path / MANIFEST).write_text(manifest, encoding="utf-8")
    with pytest.raises(UserError, match=r"not a complete exported folder.*openvino\.xml"):
        read_folder(tmp_path)


def test_a_graph_of_onnx_has_its_own_engine(folders, tmp_path):
    manifest = json.loads((folders["crf"] / MANIFEST).read_text(encoding="utf-8"))
    del manifest["engines"]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"form": "onnx"}), encoding="utf-8")
    (tmp_path / "tagger.safetensors").write_bytes((folders["crf"] / "tagger.safetensors").read_bytes())
    with pytest.raises(UserError, match="is an ONNX graph; leave out --engine"):
        place(read_folder(tmp_path), None, "openvino")
    assert place(read_folder(tmp_path), None, "auto") == ("cpu", "auto")


@pytest.mark.parametrize("form", ["openvino", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_tagger_of_a_graph_is_copied_and_pickled(folders, llama, tmp_path, form):
    folder = folders["crf"]
    if form == "onnx":
        folder = export(str(write_checkpoint(tmp_path, llama)), tmp_path / "out", format="onnx")
    tagger = NERTagger.from_run(str(folder), engine="auto" if form == "onnx" else form)
    expected = [each.tags for each in tagger(words=WORDS)]
    for same in (copy.deepcopy(tagger), pickle.loads(pickle.dumps(tagger))):
        assert [each.tags for each in same(words=WORDS)] == expected
        assert type(same.tagger.emitter) is type(tagger.tagger.emitter)
        assert not same.tagger.emitter.training


def test_signals_keep_their_stack_where_taggers_come_and_go(folders):
    def stack():
        found = ctypes.create_string_buffer(64)
        assert ctypes.CDLL(None).sigaltstack(None, found) == 0
        return found.raw

    def emitter():
        return OpenVINOEmitter(folders["crf"] / "openvino.xml", "first", bf16=False)

    one = emitter()  # the first one of a process may bring a stack, which stays
    before = stack()
    two, three = emitter(), emitter()
    del one, two, three
    assert stack() == before


def test_the_card_says_what_was_measured(folders):
    text = (folders["crf"] / "README.md").read_text(encoding="utf-8")
    assert "| PyTorch | 10.0 | 900 |" in text
    assert "| OpenVINO | 5.0 | 800 |" in text
    assert "pip install '.[openvino]'" in text


def test_from_the_shell_both_engines_answer_alike(folders, capsys):
    said = []
    for engine in ("torch", "openvino", "auto"):
        words = ["predict", str(folders["crf"]), "--engine", engine, "--text", "Vera Holt left Lima."]
        assert main([*words, "--output", "-"]) == 0
        said.append(capsys.readouterr().out)
    entities = [[e["text"] for e in json.loads(line)["entities"]] for line in said]
    assert entities[0] == entities[1] == entities[2]


@pytest.mark.slow
def test_engines_are_measured_in_processes_of_their_own(folders, monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    found = timing.measure_engines(folders["crf"], trust=False)
    assert found.keys() == {"torch", "openvino"}
    assert all(figures["sentence_ms"] > 0 < figures["words_per_second"] for figures in found.values())


@pytest.mark.slow
def test_one_thread_is_enough(folders, llama, tmp_path, monkeypatch):
    """A kernel of OpenVINO's for gated layers in bf16 would divide by half the number of threads."""
    monkeypatch.setattr(exported_folder, "measure_engines", lambda folder, trust: MEASURED)
    folder = export(
        str(write_checkpoint(tmp_path, llama)), tmp_path / "out", format="openvino", dtype="bfloat16"
    )
    command = [sys.executable, "-m", timing.__name__, str(folder), "openvino"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == 1


def test_an_exported_tokenizer_encodes_as_transformers_does(folders):
    from transformers import AutoTokenizer

    folder = folders["crf"]
    assert is_exported_tokenizer(folder)
    ours, theirs = ExportedTokenizer(folder), AutoTokenizer.from_pretrained(folder)
    texts = [" ".join(words) for words in WORDS] + ["\n", "Straße  naïve 😀\u200b", "<|end_of_text|>"]
    for special in (False, True):
        one = ours(texts, add_special_tokens=special)
        other = theirs(texts, add_special_tokens=special, return_offsets_mapping=True)
        assert one["input_ids"] == other["input_ids"]
        assert [list(map(tuple, each)) for each in one["offset_mapping"]] == other["offset_mapping"]
        assert (
            ours("Vera", add_special_tokens=special)["input_ids"]
            == (theirs("Vera", add_special_tokens=special)["input_ids"])
        )
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.get_vocab() == theirs.get_vocab()


@pytest.mark.slow
def test_a_folder_with_a_graph_is_read_without_transformers(folders):
    code = (
        "import sys; from ner_lightning.inference.ner_tagger import NERTagger\n"
        f"NERTagger.from_pretrained({str(folders['crf'])!r}, engine='openvino')('Vera Holt left Lima.')\n"
        "print(sorted({'transformers', 'peft', 'scipy', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_an_engine_that_does_not_exist_is_refused(llama, tmp_path):
    run = write_checkpoint(tmp_path, llama)
    with pytest.raises(UserError, match="engine 'onnx' does not exist; there are auto, torch, openvino"):
        NERTagger.from_run(str(run), engine="onnx")
    assert NERTagger.from_run(str(run), device=torch.device("cpu"))
