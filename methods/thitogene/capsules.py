"""A spot as capsules: dynamic convolution (Li et al., ICLR 2022) and Efficient-CapsNet (Mazzia et al., Sci. Rep. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from typing_extensions import override

from ..sections.recompute import KEPT, recomputed
from .parameters import THItoGeneParameters

STRIDE = 4  # edge and stride of the dynamic convolution's kernels
CHANNELS = (16, 32, 64, 64)  # of its output and of the convolutions after it, before the last one
SQUEEZED = 16  # channels that the attentions are read from


class DynamicConvolution(nn.Module):
    """Pixels (n, 3, x, y) -> (n, 16, x / 4, y / 4), each patch by a kernel of its own.

    The kernel is a mixture of `kernels`, weighed by four attentions that are read from the patch's mean colour: over
    kernels (softmax), and over places in the kernel, input channels and output channels (sigmoids).
    """

    def __init__(self, kernels: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Linear(3, SQUEEZED, bias=False), nn.BatchNorm1d(SQUEEZED), nn.ReLU())
        self.of_channel = nn.Linear(SQUEEZED, 3)
        self.of_filter = nn.Linear(SQUEEZED, CHANNELS[0])
        self.of_place = nn.Linear(SQUEEZED, STRIDE * STRIDE)
        self.of_kernel = nn.Linear(SQUEEZED, kernels)
        self.weight = nn.Parameter(torch.empty(kernels, CHANNELS[0], 3, STRIDE * STRIDE))
        for kernel in self.weight:
            nn.init.kaiming_normal_(kernel, mode="fan_out")

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        n, _, width, height = pixels.shape
        seen = self.squeeze(pixels.mean(dim=(2, 3)))
        kernel = torch.einsum("nk,kocp->nocp", self.of_kernel(seen).softmax(dim=1), self.weight)
        kernel = kernel * self.of_place(seen).sigmoid()[:, None, None, :]
        kernel = kernel * self.of_channel(seen).sigmoid()[:, None, :, None]
        kernel = kernel * self.of_filter(seen).sigmoid()[:, :, None, None]
        # Kernels do not overlap, so the convolution is one product of each patch's squares with its own kernel.
        squares = pixels.reshape(n, 3, width // STRIDE, STRIDE, height // STRIDE, STRIDE).permute(0, 1, 3, 5, 2, 4)
        out: Tensor = kernel.flatten(2) @ squares.reshape(n, 3 * STRIDE * STRIDE, -1)
        return out.reshape(n, CHANNELS[0], width // STRIDE, height // STRIDE)


class PatchCapsules(nn.Module):
    """Pixels (n, 3, size, size), 0..255 -> primary capsules (n, primary, length), not yet squashed."""

    def __init__(self, p: THItoGeneParameters) -> None:
        super().__init__()
        out = p.primary * p.primary_length
        self.dynamic = DynamicConvolution(p.kernels)
        layers: list[nn.Module] = []
        edges = zip(CHANNELS, (*CHANNELS[1:], out), (5, 3, 3, 3), (1, 1, 1, 2), strict=True)
        for before, after, kernel, stride in edges:
            layers += [nn.Conv2d(before, after, kernel, stride), nn.BatchNorm2d(after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        left = (p.patch_size // STRIDE - 8 - 3) // 2 + 1  # after 5, 3, 3 and a last 3 in steps of 2, none padded
        self.whole = nn.Conv2d(out, out, left, groups=out)
        self.shape = (p.primary, p.primary_length)

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        large = len(pixels) > KEPT
        x = recomputed(large, self, self._start, pixels)
        for first in range(0, len(self.convolutions), 3):  # each with its norm and ReLU
            x = recomputed(large, self, self.convolutions[first : first + 3], x)
        out: Tensor = self.whole(x).flatten(1).unflatten(1, self.shape)
        return out

    def _start(self, pixels: Tensor) -> Tensor:
        return relu(self.dynamic(pixels.to(self.whole.weight.dtype)))


class Routing(nn.Module):
    """Self-attention routing: capsules (n, i, a) -> (n, j, b), squashed.

    Each lower capsule votes for each higher one; its weight there is the agreement of its vote with all votes, over the
    square root of the lower length, as a softmax over the higher capsules, plus a learned prior.
    """

    def __init__(self, lower: int, lower_length: int, higher: int, higher_length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(higher, lower, lower_length, higher_length))
        self.prior = nn.Parameter(torch.zeros(higher, lower))
        nn.init.normal_(self.weight, std=1 / math.sqrt(higher_length))  # a unit capsule's vote has about unit length

    @override
    def forward(self, lower: Tensor) -> Tensor:
        votes = torch.einsum("nia,jiab->njib", lower, self.weight)
        # The sum over all votes of a product with each is the product with their sum.
        agreement = (votes * votes.sum(dim=2, keepdim=True)).sum(dim=3) / math.sqrt(lower.shape[2])
        return squash(((agreement.softmax(dim=1) + self.prior)[..., None] * votes).sum(dim=2))


def squash(x: Tensor) -> Tensor:
    """Vectors along the last axis to length 1 - exp(-length), direction kept; 0 stays 0."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return -torch.expm1(-length) * x / (length + 1e-20)
