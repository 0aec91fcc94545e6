"""The runtime of the extra qbench-spatial[cpu]: OpenVINO on the CPU, fed with the patches as they lie in memory (uint8, NHWC)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import nn

from ...errors import MethodError
from .registry import EncoderSpec
from .torch_runtimes import filled, parts

_BATCH = 16  # as fast as 32 in the measurements, with half the memory


class OpenVino:
    """An encoder's network as one or two OpenVINO graphs, normalisation inside the first; batches of one fixed shape.

    Raises:
        MethodError: OpenVINO cannot convert the network.
    """

    batch = _BATCH

    def __init__(self, spec: EncoderSpec, network: nn.Module, image_size: int) -> None:
        self.dim = int(network.num_features)  # type: ignore[arg-type]
        core = ov.Core()
        example = torch.zeros(
            2, 3, image_size, image_size
        )  # traced small, then given its shape: tracing runs the network
        self._graphs: list[Any] = []
        for part, bf16 in parts(spec, network):
            try:
                with warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")  # torch's about the tracing that OpenVINO does
                    graph = ov.convert_model(part, example_input=example, input=[_BATCH, *example.shape[1:]])
                    example = part(example)
            except (RuntimeError, ov.frontend.OpConversionFailure) as error:
                raise MethodError(
                    f"OpenVINO cannot convert encoder '{spec.name}' ({str(error).strip().splitlines()[0]}); use --runtime eager."
                ) from error
            if not self._graphs:
                graph = _reading_pixels(graph, spec)
            # One stream: the batch is what is spread over the cores. f16 is slower than f32 on CPUs, so it is never asked for.
            hints = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32", "NUM_STREAMS": "1"}
            self._graphs.append(core.compile_model(graph, "CPU", hints))

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same: OpenVINO reads them where they are."""
        return patches

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (b, size, size, 3) RGB -> float32 (b, dim); the last batch is filled up, since the graph has one shape."""
        values: Any = np.ascontiguousarray(filled(patches, _BATCH))
        for graph in self._graphs:
            values = graph([values], share_inputs=True)[0]
        return np.array(values[: len(patches)], dtype=np.float32)


def _reading_pixels(graph: Any, spec: EncoderSpec) -> Any:
    steps = ov.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    pixels = steps.input().preprocess().convert_element_type(ov.Type.f32)
    pixels.mean([255 * m for m in spec.mean]).scale([255 * s for s in spec.std])
    return steps.build()
