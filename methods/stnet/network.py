"""ST-Net's network (He et al. 2020; bryanhe/ST-Net): a backbone and one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..images.sources import symmetries
from ..precision import in_full


class STNetNetwork(nn.Module):
    """`forward(x)`: pixels (n, 3, h, w) normalised, or features (n, d) without a backbone -> expression (n, genes)."""

    def __init__(self, genes: int, features: int, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = nn.Identity() if backbone is None else backbone
        self.classifier = nn.Linear(features, genes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pixels (n, 3, h, w) -> (n, genes), the last layer in fp32."""
        return in_full(self.classifier, self.backbone(x))

    def averaged(self, x: Tensor) -> Tensor:
        """Mean prediction over the eight symmetries of each patch, the published test-time averaging."""
        return torch.stack([self(turned) for turned in symmetries(x)]).mean(dim=0)


def initialise(network: STNetNetwork, mean: Tensor) -> None:
    """Last layer with zero weight and the training mean (genes,) as bias: the first prediction is that mean."""
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(mean)
