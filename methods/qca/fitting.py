"""QCA's training step: the loss of a batch, and what is watched in each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import ImageSource
from ..method import FitContext
from .fsq import FSQ
from .losses import alignment_loss, l1_term, reconstruction_loss, rounded
from .network import QCANetwork
from .parameters import QCAParameters

COLLAPSED = 1e-4  # variance over spots, mean over units, below which a gene-encoder level says nothing
Batch = tuple[Tensor, Tensor]


class QCATraining:
    """Loss and monitor for the shared loop; `target` is float32 (n, genes) on the device."""

    def __init__(self, network: QCANetwork, source: ImageSource, target: Tensor, p: QCAParameters) -> None:
        self._network, self._source, self._target, self._p = network, source, target, p
        self._indices: list[Tensor] = []

    def prepare(self, rows: Tensor) -> Batch:
        return rows, self._source.prepare(rows)

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """align + recon, equally weighted, as the paper states; figures for the log."""
        p, network = self._p, self._network
        rows, images = batch
        expression = self._target[rows.to(self._target.device)]
        image = network.image_features(self._source.ready(images, training=True))
        quantised, index = network.quantiser(image)
        encoded, decoded = network.encode(expression), network.decode(quantised)
        if p.round_in_loss:
            decoded[0] = rounded(decoded[0])
        recon = reconstruction_loss(encoded, decoded, p.recon_levels, p.stop_grad_encoder_targets)
        l1 = l1_term(network.input_weight, p.l1_reduction)
        total = recon + p.beta * l1
        figures = {"reconstruction": recon, "mse": (decoded[0].detach() - expression).square().mean(), "l1": l1}
        if p.autoencode:
            again = network.decode(encoded[-1])[0]
            total = total + p.autoencode * (again - expression).square().mean()
        if p.alignment != "none":
            align, entropy = alignment_loss(
                image,
                encoded[-1],
                kind=p.alignment,
                alpha=p.alpha if p.alpha_weighs == "image" else 1 - p.alpha,
                temperature=p.temperature,
                detach_targets=p.detach_targets,
                mask_diagonal=p.mask_diagonal,
            )
            total = total + align
            chance = torch.tensor(math.log(max(len(rows) - p.mask_diagonal, 1)))
            figures |= {"alignment": align, "alignment_entropy": entropy, "alignment_chance": chance}
        if index is not None:
            self._indices.append(index)
        spread = {f"variance_{i}": level.detach().float().var(dim=0).mean() for i, level in enumerate(encoded) if i}
        return total, {**figures, **spread}

    def monitor(self) -> Mapping[str, float]:
        """Codes used in the epoch's training batches, and the perplexity of their distribution."""
        if not self._indices:
            return {}
        _, times = torch.unique(torch.cat(self._indices), return_counts=True)
        self._indices.clear()
        share = times / times.sum()
        return {"codes_used": float(len(times)), "code_perplexity": float(torch.exp(-(share * share.log()).sum()))}


def warn_of_collapse(context: FitContext) -> None:
    """A gene-encoder level that no longer varies over spots makes its reconstruction term empty: say so."""
    kept = [entry for entry in context.history if entry["epoch"] == context.selected_epoch]
    collapsed = [
        name.removeprefix("variance_")
        for entry in kept
        for name, value in entry.items()
        if name.startswith("variance_") and value < COLLAPSED
    ]
    if collapsed:
        context.warn(
            f"qca: level {', '.join(collapsed)} of the gene encoder has collapsed (variance over spots below "
            f"{COLLAPSED:g}); "
            "stop_grad_encoder_targets=true or a higher autoencode keeps it alive."
        )


@torch.inference_mode()
def describe(network: QCANetwork, source: ImageSource, sample: int = 2000) -> dict[str, NDArray[Any]]:
    """What the figures need: codes used and how often, input-weight norms per gene, a sample of spots at the quantiser.

    Arrays: `gene_weight_l1` (genes,). With a quantiser also `codes` and `code_counts` int64 (used,), and of up to `sample`
    training spots, evenly spaced, `sample_code` int64 (s,), `sample_bounded` and `sample_rounded` float32 (s, dimensions):
    the image features in the space of the codebook, before the rounding, and the codebook vectors that they become.
    """
    arrays = {"gene_weight_l1": network.input_weight.abs().sum(dim=0)}
    if (fsq := network.quantiser.fsq) is not None:
        parts = torch.arange(len(source)).split(source.forward_batch)
        images = (network.image_features(source.ready(source.prepare(part), training=False)) for part in parts)
        z = torch.cat([network.quantiser.down(image) for image in images])
        rounded, index = fsq(z)
        rows = torch.linspace(0, len(source) - 1, min(sample, len(source))).long().to(z.device)
        bounded = FSQ(fsq.levels, rounding=False).to(z.device)(z[rows])[0]
        arrays |= {"sample_code": index[rows], "sample_bounded": bounded, "sample_rounded": rounded[rows]}
        arrays["codes"], arrays["code_counts"] = torch.unique(index, return_counts=True)
    return {
        name: value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
        for name, value in arrays.items()
    }
