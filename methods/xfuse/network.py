"""XFuse's image model (Bergenstråhle et al. 2022; ludvb/xfuse): latent levels, inferred from an image and decoded to one state."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import interpolate, softplus

from ..sections.recompute import recomputed

SLOPE = 0.2  # of LeakyReLU
MOMENTUM = 0.05  # of BatchNorm
LEAST_SD = 1e-3  # bare glass, all of one colour, would have a density without bound
KEPT_CELLS = 524_288  # cells of a step's images whose values are kept for the gradients: 128 images of 64 x 64


def large(images: Tensor) -> bool:
    """Whether what comes of images (n, channels, edge, edge) is more than is kept; it is computed again then, block by block."""
    return len(images) * images.shape[2] * images.shape[3] > KEPT_CELLS


def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and LeakyReLU; the size is kept, or halved (rounded up) by a stride of 2."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2),
        nn.BatchNorm2d(outputs, momentum=MOMENTUM),
        nn.LeakyReLU(SLOPE),
    )


class Head(nn.Sequential):
    """Two 1 x 1 convolutions, the first of them with BatchNorm and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*block(inputs, inputs, 1), nn.Conv2d(inputs, outputs, 1))


class Inference(nn.Module):
    """`forward(image)` -> the posterior of each latent level, the finest first; image: float (n, channels, edge, edge)."""

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.enter = block(channels, width, 3)
        self.blocks = nn.ModuleList(nn.Sequential(block(w, w, 3), block(w, w, 3)) for w in widths)
        self.down = nn.ModuleList(block(w, deeper, 5, stride=2) for w, deeper in pairwise(widths))
        self.mean = nn.ModuleList(Head(w, w) for w in widths)
        self.sd = nn.ModuleList(Head(w, w) for w in widths)

    def forward(self, image: Tensor) -> list[Normal]:
        """Normal (n, width * 2^level, edge / 2^level, edge / 2^level) of each level."""
        again, found = large(image), []
        x = recomputed(again, self.enter, self.enter, image)
        for level, conv in enumerate(self.blocks):
            x = recomputed(again, conv, conv, x)
            mean, sd = recomputed(again, self, partial(self._posterior, level), x)
            found.append(Normal(mean, sd, validate_args=False))
            if level < len(self.down):
                x = recomputed(again, self.down[level], self.down[level], x)
        return found

    def _posterior(self, level: int, x: Tensor) -> tuple[Tensor, Tensor]:
        sd = softplus(self.sd[level](x).float()) + LEAST_SD
        return self.mean[level](x).float(), sd


class Decoder(nn.Module):
    """`forward(latents)` -> the state behind image and expression, (n, width, edge, edge); latents: the finest first."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.blocks = nn.ModuleList(nn.Sequential(block(w, w, 3), block(w, w, 3)) for w in widths)
        self.up = nn.ModuleList(block(deeper, w, 5) for w, deeper in pairwise(widths))
        self.join = nn.ModuleList(block(2 * w, w, 3) for w in widths[:-1])

    def forward(self, latents: list[Tensor]) -> Tensor:
        """From the deepest level up."""
        again = large(latents[0])
        x: Tensor = recomputed(again, self.blocks[-1], self.blocks[-1], latents[-1])
        for level in reversed(range(len(latents) - 1)):
            x = recomputed(again, self, partial(self._joined, level), x, latents[level])
        return x

    def _joined(self, level: int, x: Tensor, latent: Tensor) -> Tensor:
        again, up, join, conv = large(latent), self.up[level], self.join[level], self.blocks[level]
        x = recomputed(again, up, up, interpolate(x, latent.shape[2:], mode="bilinear"))
        x = recomputed(again, join, join, torch.cat([x, latent], dim=1))
        out: Tensor = recomputed(again, conv, conv, x)
        return out


class ImageLikelihood(nn.Module):
    """`forward(state)` -> Normal (n, channels, edge, edge) of the image; its mean starts at `mean` (channels,) everywhere."""

    def __init__(self, width: int, mean: Tensor, bounded: bool) -> None:
        super().__init__()
        self.bounded = bounded  # whether the image lies in -1 .. 1, as pixels do
        self.mean = nn.Conv2d(width, len(mean), 1)
        self.sd = nn.Conv2d(width, len(mean), 1)
        with torch.no_grad():
            self.mean.weight.zero_()
            self.mean.bias.copy_(mean.clamp(-0.99, 0.99).atanh() if bounded else mean)  # type: ignore[union-attr]

    def forward(self, state: Tensor) -> Normal:
        """Mean by tanh where the image is bounded."""
        mean = self.mean(state).float()
        sd = softplus(self.sd(state).float()) + LEAST_SD
        return Normal(mean.tanh() if self.bounded else mean, sd, validate_args=False)
