"""Writes a tagger's backbone and head as OpenVINO's graph."""

from pathlib import Path
from typing import Any

import torch

from ner_lightning.export.graph import BackboneGraph, axes, example
from ner_lightning.export.quiet_export import silent_exporters
from ner_lightning.inference.engines.packages import INPUTS, require
from ner_lightning.model.emitter import BackboneEmitter

_ACTIVATIONS = ("Swish", "Gelu")


def write(emitter: BackboneEmitter, file: Path, *, half: bool) -> None:
    """Writes the graph, and its weights beside it.

    Inputs `input_ids` and `attention_mask`, *shape:* (R, T), long; output *shape:* (R, T, C).

    Args:
        emitter: in fp32, its adapters merged.
        file: the file to write, `.xml`.
        half: round the weights to fp16, which has three bits more than bf16.

    Raises:
        UserError: the packages that this needs are not installed.
    """
    require("OpenVINO", "openvino", "openvino")
    import openvino
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with silent_exporters(), torch.no_grad():
        program = torch.export.export(BackboneGraph(emitter).eval(), example(), dynamic_shapes=axes())
        # `openvino.convert_model` would do the same, and report its use over the network.
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchFXPythonDecoder.from_exported_program(program)
        model = frontend.convert(frontend.load(decoder))
    for name, given in zip(INPUTS, model.inputs, strict=True):
        given.get_tensor().set_names({name})
        given.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    apply_moc_transformations(model, cf=False)  # half the operations, so that it loads sooner
    _transpose_down_projections(model)  # after that, which would undo it
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, file, compress_to_fp16=half)


def _transpose_down_projections(model: Any) -> None:
    """Stores the second matrix of each gated feed-forward layer transposed.

    The function stays the same. As they are, OpenVINO's CPU plugin joins the three matrices to a kernel that
    divides by half the number of threads: with one thread the process dies (openvino issue 33300).
    """
    import numpy as np
    from openvino import opset13 as operations

    for multiplication in model.get_ordered_ops():
        if multiplication.get_type_name() != "MatMul" or not _is_gated(multiplication.input_value(0)):
            continue
        weights = multiplication.input_value(1).get_node()
        attributes = multiplication.get_attributes()
        if weights.get_type_name() != "Constant" or not attributes["transpose_b"]:
            continue
        turned = operations.constant(np.ascontiguousarray(weights.data.T))
        other = operations.matmul(multiplication.input_value(0), turned, attributes["transpose_a"], False)
        for user in multiplication.output(0).get_target_inputs():
            user.replace_source_output(other.output(0))


def _is_gated(output: Any) -> bool:
    """Whether it is a product of an activation and something else."""
    product = output.get_node()
    if product.get_type_name() != "Multiply":
        return False
    return any(value.get_node().get_type_name() in _ACTIVATIONS for value in product.input_values())
