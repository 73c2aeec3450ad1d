import copy
import json
import shutil
from logging import getLogger

import gguf
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from shared import Evil
from taggers import settings_of
from transformers import LlamaModel

from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model import build
from ner_lightning.model.activation_checkpointing import checkpoint_activations
from ner_lightning.model.backbone import find_layers, fingerprint
from ner_lightning.model.gguf_options import gguf_options
from ner_lightning.model.weights import load_backbone
from ner_lightning.system.hub_access import ModelAccess


def write_gguf(path, *, factor, scaling=None, factors=False):
    """A two-layer Llama as llama.cpp writes it; `factor` stretches its RoPE as Llama 3.2's is.

    `scaling` is another way to stretch it; `factors` writes a tensor that Phi-3's have for that.
    """
    torch.manual_seed(0)
    config = tiny.llama_config(rope_parameters={"rope_type": "default", "rope_theta": 500000.0})
    model = LlamaModel(config)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(131072)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(500000.0)
    writer.add_vocab_size(420)
    if scaling is not None:
        writer.add_rope_scaling_type(scaling)
        writer.add_rope_scaling_factor(4.0)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for name, value in model.state_dict().items():
        array = value.numpy()
        if name.startswith("layers."):
            _, number, rest = name.split(".", 2)
            part = names[rest.removesuffix(".weight")]
            if part in {"attn_q", "attn_k"}:  # llama.cpp keeps rotary halves interleaved
                heads = 4 if part == "attn_q" else 2
                array = array.reshape(heads, 2, 4, 32).swapaxes(1, 2).reshape(array.shape)
            target = f"blk.{number}.{part}.weight"
        else:
            target = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]
        writer.add_tensor(target, np.ascontiguousarray(array))
    if factor is not None:
        writer.add_tensor("rope_freqs.weight", np.array([1, 1, 5.5, factor], dtype=np.float32))
    if factors:
        writer.add_tensor("rope_factors_long.weight", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def load(path):
    return load_backbone(locate(str(path)), attention="causal", dtype=torch.float32).model


def test_gguf_weights_are_plain_and_llama3_rope_survives(tmp_path):
    ids = torch.arange(12).reshape(1, 12)
    original = write_gguf(tmp_path / "plain.gguf", factor=None)
    plain = load(tmp_path / "plain.gguf")
    with torch.no_grad():
        expected = original.eval()(ids).last_hidden_state
        found = plain.eval()(input_ids=ids).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert plain.config.rope_parameters["rope_type"] == "default"
    assert all(isinstance(p, torch.nn.Parameter) and p.requires_grad for p in plain.parameters())
    write_gguf(tmp_path / "stretched.gguf", factor=32.0)
    stretched = load(tmp_path / "stretched.gguf")
    assert stretched.config.rope_parameters == tiny.llama_config().rope_parameters
    reference = LlamaModel(tiny.llama_config()).rotary_emb.inv_freq
    torch.testing.assert_close(stretched.rotary_emb.inv_freq, reference)
    assert not torch.allclose(plain.rotary_emb.inv_freq, reference)


def test_rope_frequencies_of_gemma4_are_not_taken_for_llama3s(tmp_path):
    """Its configuration says the same; there is no one base of the frequencies to stretch."""
    writer = gguf.GGUFWriter(tmp_path / "g.gguf", "gemma4")
    writer.add_context_length(1024)
    writer.add_block_count(6)
    writer.add_embedding_length(64)
    writer.add_key_length(64)
    writer.add_vocab_size(300)
    writer.add_tensor("rope_freqs.weight", np.array([1.0] * 4 + [1e30] * 12, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert set(gguf_options(locate(str(tmp_path / "g.gguf")))) == {"quantization_config"}


@pytest.mark.parametrize(
    ("options", "said"),
    [({"scaling": gguf.RopeScalingType.YARN}, "yarn"), ({"factors": True}, "longrope")],
)
def test_positions_that_transformers_would_not_stretch_are_refused(tmp_path, options, said):
    write_gguf(tmp_path / "m.gguf", factor=None, **options)
    with pytest.raises(
        UserError, match=rf"m.gguf stretches its rotary positions \({said}\), .*\nname the model"
    ):
        load(tmp_path / "m.gguf")


def test_positions_that_are_not_stretched_may_say_so(tmp_path):
    write_gguf(tmp_path / "m.gguf", factor=None, scaling=gguf.RopeScalingType.NONE)
    assert load(tmp_path / "m.gguf").config.rope_parameters["rope_type"] == "default"


def saved_as_bin(folder, *, shards=1, scale=1.0):
    """A two-layer Llama whose weights lie in one or several `.bin` files."""
    torch.manual_seed(0)
    config = tiny.llama_config()
    state = {name: value * scale for name, value in LlamaModel(config).state_dict().items()}
    config.save_pretrained(folder)
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return folder
    names, index = sorted(state), {}
    for number in range(shards):
        file = folder / f"parts/weights-{number}.bin"
        file.parent.mkdir(exist_ok=True)
        held = names[number::shards]
        torch.save({name: state[name] for name in held}, file)
        index |= dict.fromkeys(held, str(file.relative_to(folder)))
    about = {"metadata": {"total_size": 0}, "weight_map": index}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_identity_covers_weights_in_bin_files(tmp_path, shards):
    """Two folders that differ in nothing else."""
    folders = [tmp_path / name for name in "abc"]
    for folder, scale in zip(folders, (1.0, 1.0, 2.0), strict=True):
        folder.mkdir()
        saved_as_bin(folder, shards=shards, scale=scale)
    one, same, other = (fingerprint(locate(str(folder))) for folder in folders)
    assert one == same
    assert one != other
    norms = [
        load_backbone(locate(str(folder)), attention="causal", dtype=torch.float32).model.norm.weight
        for folder in (folders[0], folders[2])
    ]
    torch.testing.assert_close(2 * norms[0], norms[1])  # so they are loaded


def test_identity_covers_the_index_of_shards(tmp_path):
    """It says which of two files a weight is taken from."""
    folder = saved_as_bin(tmp_path, shards=2)
    before = fingerprint(locate(str(folder)))
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(index.read_text().replace("weights-0", "weights-1", 1))
    assert fingerprint(locate(str(folder))) != before
    for name, said in (("../x.bin", "outside its folder"), ("/x.bin", "outside its folder")):
        index.write_text(json.dumps({"weight_map": {"norm.weight": name}}))
        with pytest.raises(UserError, match=said):
            fingerprint(locate(str(folder)))
    index.write_text("[]")
    with pytest.raises(UserError, match="is not an index of weights"):
        locate(str(folder))


def test_a_folder_without_weights_and_an_adapter_are_refused(llama, tmp_path):
    shutil.copy(llama / "config.json", tmp_path)
    (tmp_path / "training_args.bin").touch()
    with pytest.raises(UserError, match="has no weights"):
        locate(str(tmp_path))
    shutil.copy(llama / "model.safetensors", tmp_path)
    assert locate(str(tmp_path)).name == str(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge it"):
        locate(str(tmp_path))


def test_weights_that_are_in_no_file_are_not_drawn_at_random(llama, tmp_path):
    folder = tmp_path / "part"
    shutil.copytree(llama, folder)
    held = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in held.items() if "layers.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lack 9 of its weights, such as .*layers\.1\."):
        load_backbone(locate(str(folder)), attention="causal", dtype=torch.float32)


def test_a_pickled_object_among_weights_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    folder = saved_as_bin(tmp_path)
    torch.save({"norm.weight": Evil(tmp_path / "was_run")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="weight files with more than tensors"):
        load_backbone(locate(str(folder)), attention="causal", dtype=torch.float32)
    assert not (tmp_path / "was_run").exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "was_run").exists()  # so it would have been run


def test_identity_changes_with_the_weights(llama, tmp_path):
    first = fingerprint(locate(str(llama)))
    assert first == fingerprint(locate(str(llama)))
    other = tiny.write_llama(tmp_path / "other", initializer_range=0.3)
    assert fingerprint(locate(str(other))) != first
    assert first.startswith("sha256:")


@pytest.mark.parametrize("training", [False, True])
def test_activation_checkpointing_gives_the_same_gradients(llama, training):
    ids = torch.arange(8).reshape(1, 8)
    gradients, calls = [], []
    for checkpointing in (False, True):
        backbone = load_backbone(locate(str(llama)), attention="causal", dtype=torch.float32).train(training)
        calls.append([])
        for layer in backbone.layers:
            layer.mlp.register_forward_pre_hook(lambda *_, seen=calls[-1]: seen.append(1))
        if checkpointing:
            checkpoint_activations(backbone.layers)
        for one in (backbone, copy.deepcopy(backbone)):  # a copy runs layers of its own
            one.model(input_ids=ids).last_hidden_state.sum().backward()
            gradients.append([p.grad for p in one.model.parameters() if p.grad is not None])
        with torch.no_grad():
            backbone.model(input_ids=ids)
    assert [len(seen) for seen in calls] == [3 * 2, 3 * 2 + 2 * 2]
    assert len(gradients[0]) > 10
    for other in gradients[1:]:
        for one, same in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, same)


def test_backbones_are_found_where_they_are(tmp_path, monkeypatch):
    assert locate("org/name", "main").on_hub
    monkeypatch.setattr(
        "ner_lightning.data.pretrained.check_model_access", lambda name, revision: ModelAccess("c0ffee", True)
    )
    assert locate("org/name", "main").kwargs == {"revision": "c0ffee", "local_files_only": True}
    (tmp_path / "m").mkdir()
    (tmp_path / "m/w.gguf").write_bytes(b"")
    assert locate(str(tmp_path / "m/w.gguf")).kwargs == {"gguf_file": "w.gguf"}
    with pytest.raises(UserError, match=r"has no config\.json; name its file: .*w\.gguf"):
        locate(str(tmp_path / "m"))


def test_layers_are_the_longest_list(llama):
    assert [type(layer).__name__ for layer in find_layers(load(llama))] == ["LlamaDecoderLayer"] * 2


def test_a_gguf_file_is_read_once(tmp_path, monkeypatch):
    write_gguf(tmp_path / "stretched.gguf", factor=32.0)
    made = []

    class Counted(gguf.GGUFReader):
        def __init__(self, path):
            made.append(path)
            super().__init__(path)

    maps = []
    names = gguf.get_tensor_name_map
    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    monkeypatch.setattr(gguf, "get_tensor_name_map", lambda *args: maps.append(args) or names(*args))
    load(tmp_path / "stretched.gguf")
    assert len(made) == len(maps) == 1
    assert gguf.GGUFReader is Counted  # as it was before
    load(tmp_path / "stretched.gguf")
    assert len(made) == 2  # nothing is kept once the weights are there


@pytest.mark.parametrize("shown", [True, False])
def test_libraries_say_as_much_after_loading_as_before(llama, monkeypatch, shown):
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    loggers = [getLogger(f"bitsandbytes.{name}") for name in ("autograd._functions", "backends.cpu.ops")]
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), [one.level for one in loggers]

    def state():
        bars = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
        return logging.get_verbosity(), *bars, [one.level for one in loggers]

    within = []
    verify = build.verify_attention
    monkeypatch.setattr(build, "verify_attention", lambda *a, **o: within.append(state()) or verify(*a, **o))
    try:
        logging.set_verbosity(logging.INFO if shown else logging.CRITICAL)
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        set_before = state()
        build.build_tagger(settings_of(llama), LabelSet(("PER",)))
        assert state() == set_before
        assert within[0][:3] == (logging.ERROR, False, shown)
    finally:
        logging.set_verbosity(before[0])
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()
