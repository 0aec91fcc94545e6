"""QCA's training step: the loss of a batch, and what is watched in each epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images.sources import ImageSource
from ..method import FitContext
from .fsq import FSQ
from .losses import alignment_loss, l1_term, reconstruction_loss, rounded
from .network import QCANetwork
from .parameters import QCAParameters

COLLAPSED = 1e-4  # variance over spots, mean over units, below which a gene-encoder level says nothing
FEW_CODES = 0.05  # share of the codes, or of the spots where they are fewer, below which a quantiser has collapsed
SATURATED = 0.95  # |tanh| beyond which FSQ's gradient is below a tenth
WITHOUT_EFFECT = 0.01  # of the reconstruction's gradient on the image features, in the median epoch
Batch = tuple[Tensor, Tensor]


class QCATraining:
    """Loss and monitor for the shared loop; `target` is float32 (n, genes) on the device."""

    def __init__(self, network: QCANetwork, source: ImageSource, target: Tensor, p: QCAParameters) -> None:
        self._network, self._source, self._target, self._p = network, source, target, p
        self._indices: list[Tensor] = []
        self._gradients: dict[str, Tensor] = {}
        self._watching = True  # in the first batch of an epoch

    def prepare(self, rows: Tensor) -> Batch:
        """The rows, int64 (b,), with what the source makes ready of them on the host."""
        return rows, self._source.prepare(rows)

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Alignment plus reconstruction, equally weighted, as the paper states; figures for the log."""
        p, network = self._p, self._network
        rows, images = batch
        expression = self._target[rows.to(self._target.device, non_blocking=True)]
        image = network.image_features(self._source.ready(images, training=True))
        quantised = network.quantiser(self._watched(image, "reconstruction"))
        encoded, decoded = network.encode(expression), network.decode(quantised.features)
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
            temperature = network.log_temperature.exp() if p.learn_temperature else p.temperature
            aligned = alignment_loss(self._watched(image, "alignment"), encoded[-1], p, temperature)
            total = total + aligned.loss
            chance = torch.tensor(math.log(max(len(rows) - p.mask_diagonal, 1)))
            figures |= {"alignment": aligned.loss, "alignment_entropy": aligned.entropy, "alignment_chance": chance}
            figures["alignment_active_pairs"] = aligned.active
            if p.learn_temperature:
                figures["temperature"] = network.log_temperature.detach().exp()
        if quantised.commitment is not None:
            total = total + quantised.commitment
            figures["commitment"] = quantised.commitment
        if quantised.index is not None:
            self._indices.append(quantised.index)
        if (fsq := network.quantiser.fsq) is not None:
            figures["saturation"] = (fsq.bounded(quantised.z.detach()).abs() > SATURATED).float().mean()
        spread = {f"variance_{i}": _variance(level.detach().float()) for i, level in enumerate(encoded) if i}
        self._watching = False
        return total, {**figures, **spread}

    def _watched(self, image: Tensor, term: str) -> Tensor:
        """The image features as one term of the loss reads them; the norm of its gradient there is kept once an epoch."""
        if not (self._watching and image.requires_grad):
            return image
        seen = image.view_as(image)
        seen.register_hook(lambda gradient: self._gradients.update({term: gradient.detach().float().norm()}))
        return seen

    def monitor(self) -> Mapping[str, float]:
        """Once an epoch: codes used, the perplexity of their distribution, and each term's gradient on the image side."""
        figures = {f"{term}_gradient": float(norm) for term, norm in self._gradients.items()}
        if self._p.alignment != "none":
            figures.setdefault("alignment_gradient", 0.0)  # nothing on the image side learns from it
        self._gradients.clear()
        self._watching = True
        if self._indices:
            _, times = torch.unique(torch.cat(self._indices), return_counts=True)
            self._indices.clear()
            share = times / times.sum()
            figures |= {
                "codes_used": float(len(times)),
                "code_perplexity": float(torch.exp(-(share * share.log()).sum())),
            }
        return figures


def _variance(level: Tensor) -> Tensor:
    """Variance over spots, mean over units, of (n, units); `Tensor.var` down the columns takes ten times as long."""
    return (level - level.mean(dim=0)).square().sum(dim=0).mean() / (len(level) - 1)


def gradient_share(history: list[dict[str, float]]) -> float | None:
    """The alignment's gradient over the reconstruction's on the image features, in the median epoch; None without alignment.

    Where nothing on the image side learns, no gradient arrives and the share is 0.
    """
    shares = [
        entry["alignment_gradient"] / entry["reconstruction_gradient"] if entry.get("reconstruction_gradient") else 0.0
        for entry in history
        if "alignment_gradient" in entry
    ]
    return statistics.median(shares) if shares else None


def warn(context: FitContext, network: QCANetwork, spots: int) -> None:
    """Say what a reader of the result must know: a term without effect, codes or levels that have collapsed."""
    share = gradient_share(context.history)
    if share is not None and share < WITHOUT_EFFECT:
        context.warn(
            f"alignment without effect: its gradient on the image features is {share:.2%} of the reconstruction's in the "
            f"median epoch, below {WITHOUT_EFFECT:.0%}."
        )
    kept = next((entry for entry in context.history if entry["epoch"] == context.selected_epoch), {})
    n_codes = network.quantiser.n_codes
    if n_codes is not None and "codes_used" in kept:
        due = FEW_CODES * min(n_codes, spots)
        if kept["codes_used"] < due:
            context.warn(
                f"codes collapsed: {kept['codes_used']:.0f} in use, below {FEW_CODES:.0%} of the "
                f"{min(n_codes, spots)} that {spots} training spots could use."
            )
    collapsed = [
        name.removeprefix("variance_")
        for name, value in kept.items()
        if name.startswith("variance_") and value < COLLAPSED
    ]
    if collapsed:
        context.warn(
            f"gene encoder collapsed: variance over spots below {COLLAPSED:g} at level {', '.join(collapsed)}; "
            "stop_grad_encoder_targets=true or a higher autoencode keeps it alive."
        )


@torch.inference_mode()
def settle(network: QCANetwork, source: ImageSource) -> None:
    """Statistics of code_norm over all training spots for the weights as they are, in evaluation mode."""
    norm = network.quantiser.code_norm
    if isinstance(norm, torch.nn.BatchNorm1d):
        z = torch.cat([network.quantiser.projected(image) for image in _images(network, source)])
        for kept, found in ((norm.running_mean, z.mean(dim=0)), (norm.running_var, z.var(dim=0))):
            assert kept is not None
            kept.copy_(found)


def _images(network: QCANetwork, source: ImageSource) -> Iterator[Tensor]:
    """Image features of the training spots in their order, part by part."""
    for part in torch.arange(len(source)).split(source.forward_batch):
        yield network.image_features(source.ready(source.prepare(part), training=False))


@torch.inference_mode()
def describe(network: QCANetwork, source: ImageSource, sample: int = 2000) -> dict[str, NDArray[Any]]:
    """What the figures need: codes used and how often, input-weight norms per gene, a sample of spots at the quantiser.

    Arrays: `gene_weight_l1` (genes,). With a quantiser also `codes` and `code_counts` int64 (used,), and of up to `sample`
    training spots, evenly spaced, `sample_code` int64 (s,), `sample_bounded` and `sample_rounded` float32 (s, dimensions):
    the image features in the space of the codebook, before the rounding, and the codebook vectors that they become.
    """
    arrays = {"gene_weight_l1": network.input_weight.abs().sum(dim=0)}
    quantiser = network.quantiser
    if quantiser.n_codes is not None:
        z = torch.cat([quantiser.code_space(image) for image in _images(network, source)])
        rows = torch.linspace(0, len(source) - 1, min(sample, len(source))).long().to(z.device)
        rounded, index, _ = quantiser.codes_of(z)
        assert index is not None
        bounded = z[rows]
        if quantiser.fsq is not None:
            bounded = FSQ(quantiser.fsq.levels, rounding=False).to(z.device)(bounded)[0]
        arrays |= {"sample_code": index[rows], "sample_bounded": bounded, "sample_rounded": rounded[rows]}
        arrays["codes"], arrays["code_counts"] = torch.unique(index, return_counts=True)
    return {
        name: value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
        for name, value in arrays.items()
    }
