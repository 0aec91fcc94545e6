"""The runtime of the extra qbench-spatial[cpu]: OpenVINO on the CPU, fed with the patches as they lie in memory (uint8, NHWC)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import MethodError
from .registry import EncoderSpec
from .torch_runtimes import filled, parts

# Else OpenVINO tells its makers of each conversion; where this package cannot be imported, it has a stub of its own.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

_BATCH = 16  # as fast as 32 in the measurements, with half the memory


class Graphs:
    """Networks, one behind the other, as OpenVINO graphs on the CPU; batches of one fixed shape.

    Args:
        pieces: the networks, each with whether it runs in bf16; what they take and give is traced.
        example: float (2, 3, size, size), traced small, since tracing runs the networks.
        rows: of a batch.
        what: the network, for an error.
        prepare: what is put before the first graph.
        threads: of the CPU; None leaves it to OpenVINO.

    Raises:
        MethodError: OpenVINO cannot convert a network.
    """

    def __init__(
        self,
        pieces: Iterable[tuple[nn.Module, bool]],
        example: Tensor,
        rows: int,
        what: str,
        prepare: Callable[[Any], Any] | None = None,
        threads: int | None = None,
    ) -> None:
        core = ov.Core()
        self._graphs: list[Any] = []
        for piece, bf16 in pieces:
            try:
                with warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")  # torch's about the tracing that OpenVINO does
                    graph = ov.convert_model(piece, example_input=example, input=[rows, *example.shape[1:]])
                    example = piece(example)
            except (RuntimeError, ov.frontend.OpConversionFailure) as error:
                raise MethodError(
                    f"OpenVINO cannot convert {what} ({str(error).strip().splitlines()[0]}); use --runtime eager."
                ) from error
            if not self._graphs and prepare is not None:
                graph = prepare(graph)
            # One stream: the batch is what is spread over the cores. f16 is slower than f32 on CPUs, so it is never asked for.
            hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32", "NUM_STREAMS": "1"}
            if threads is not None:
                hints["INFERENCE_NUM_THREADS"] = threads
            self._graphs.append(core.compile_model(graph, "CPU", hints))

    def run(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """A full batch, contiguous in memory, through all of them: float32 (rows, d), overwritten by the next run."""
        for graph in self._graphs:
            values = graph([values], share_inputs=True)[0]
        return values


class OpenVino:
    """An encoder's network as one or two OpenVINO graphs, normalisation inside the first.

    Raises:
        MethodError: OpenVINO cannot convert the network.
    """

    batch = _BATCH

    def __init__(self, spec: EncoderSpec, network: nn.Module, image_size: int) -> None:
        self.dim = int(network.num_features)  # type: ignore[arg-type]
        pieces, example = parts(spec.loader, spec.dtype, network), torch.zeros(2, 3, image_size, image_size)
        self._graphs = Graphs(pieces, example, _BATCH, f"encoder '{spec.name}'", partial(_reading_pixels, spec=spec))

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same: OpenVINO reads them where they are."""
        return patches

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (b, size, size, 3) RGB -> float32 (b, dim); the last batch is filled up, since the graph has one shape."""
        values = self._graphs.run(np.ascontiguousarray(filled(patches, _BATCH)))
        return np.array(values[: len(patches)], dtype=np.float32)


def _reading_pixels(graph: Any, spec: EncoderSpec) -> Any:
    steps = ov.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    pixels = steps.input().preprocess().convert_element_type(ov.Type.f32)
    pixels.mean([255 * m for m in spec.mean]).scale([255 * s for s in spec.std])
    return steps.build()
