import gguf
import numpy as np
import pytest
import tiny
import torch
from transformers import LlamaModel

from ner_lightning.data.pretrained import locate
from ner_lightning.errors import UserError
from ner_lightning.hub_errors import ModelAccess
from ner_lightning.model.backbone import checkpoint_activations, find_layers, identity, load_backbone


def write_gguf(path, *, factor):
    """A two-layer Llama as llama.cpp writes it; `factor` stretches its RoPE as Llama 3.2's is."""
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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def load(path):
    return load_backbone(locate(str(path)), attention="causal", dtype=torch.float32)


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


def test_identity_changes_with_the_weights(llama, tmp_path):
    first = identity(locate(str(llama)))
    assert first == identity(locate(str(llama)))
    other = tiny.write_llama(tmp_path / "other", initializer_range=0.3)
    assert identity(locate(str(other))) != first
    assert first.startswith("sha256:")


def test_activation_checkpointing_gives_the_same_gradients(llama):
    ids = torch.arange(8).reshape(1, 8)
    gradients = []
    for checkpointing in (False, True):
        model = load(llama).train()
        if checkpointing:
            checkpoint_activations(model)
        model(input_ids=ids).last_hidden_state.sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_backbones_are_found_where_they_are(tmp_path, monkeypatch):
    assert locate("org/name", "main").on_hub
    monkeypatch.setattr(
        "ner_lightning.data.pretrained.check_model_access", lambda name, revision: ModelAccess("c0ffee", True)
    )
    assert locate("org/name", "main").kwargs == {"revision": "c0ffee", "local_files_only": True}
    (tmp_path / "m").mkdir()
    (tmp_path / "m/w.gguf").write_bytes(b"")
    assert locate(str(tmp_path / "m/w.gguf")).kwargs == {"gguf_file": "w.gguf"}
    with pytest.raises(UserError, match=r"holds no config\.json; name its file: .*w\.gguf"):
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
