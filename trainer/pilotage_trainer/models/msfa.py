"""MSFA (ISPRS IJGI 2025): local spatial embeddings at two scales, in parallel, summed into 512 numbers.

*Inferred*: the paper's body gives the totals (38.90 M parameters, 40.68 G for a pair, 512 numbers, summation best) but
neither the taps nor the insides of its descriptor generators. This is a network of that family and size: VGG16 tapped
after its fourth and fifth pooling, a 3x3 convolution on each tap that brings both to one grid, SAFA's spatial embedding
on each, `heads` times in parallel, and a fusion. It is not a claim to be the authors' network.

Fusions of its ablation, all 512 long: "sum"; "attention-sum" (each part weighted by a softmax over the parts of a
learnt score); "concatenate" (then one linear layer back to 512, inferred); "none" needs `taps` 1 and `heads` 1.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from pilotage.errors import ModelError
from pilotage_trainer.models.encoder import Encoder, Size
from pilotage_trainer.models.spatial import SpatialEmbedding
from pilotage_trainer.models.trunk import Pyramid

FUSIONS = ("none", "concatenate", "sum", "attention-sum")


class Msfa(Encoder):
    """One branch; the input's size is fixed with the positions."""

    def __init__(
        self,
        backbone: str,
        *,
        image_px: Size,
        width: int = 512,
        taps: int = 2,
        heads: int = 2,
        fusion: str = "sum",
        stride: int = 32,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        parts = taps * heads
        if fusion not in FUSIONS or taps not in (1, 2) or heads < 1:
            raise ModelError(f"MSFA of {taps} taps, {heads} heads, fusion {fusion!r}; fusions are {', '.join(FUSIONS)}")
        if fusion == "none" and parts > 1:
            raise ModelError(f"{taps} taps with {heads} heads give {parts} parts: they need a fusion, not 'none'")
        self.pyramid = Pyramid(backbone, stride=stride, pretrained=pretrained)
        fine, coarse = self.pyramid.channels
        self.taps, self.fusion, self.descriptor = taps, fusion, width
        self.coarse = nn.Conv2d(coarse, width, 3, padding=1)
        if taps == 2:
            self.fine = nn.Conv2d(fine, width, 3, padding=1, stride=2)
        positions = ceil(image_px[0] / stride) * ceil(image_px[1] / stride)
        self.spatial = nn.ModuleList(SpatialEmbedding(positions, heads) for _ in range(taps))
        if fusion == "concatenate":
            self.join = nn.Linear(parts * width, width)
        if fusion == "attention-sum":
            self.score = nn.Linear(width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module in (self.coarse, getattr(self, "fine", None)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def features(self, pixels: Tensor) -> Tensor:
        """Return the generators' maps, one after the other along the channels."""
        fine, coarse = self.pyramid(pixels)
        maps = [functional.relu(self.coarse(coarse))]
        if self.taps == 2:
            maps.append(functional.relu(self.fine(fine)))
        return torch.cat(maps, dim=1)

    def aggregate(self, features: Tensor) -> Tensor:
        """Embed every scale, in parallel, and fuse."""
        maps = features.chunk(self.taps, dim=1)
        parts = torch.cat([spatial(part) for spatial, part in zip(self.spatial, maps, strict=True)], dim=1)
        if self.fusion == "concatenate":
            joined: Tensor = self.join(parts.flatten(1))
            return joined
        if self.fusion == "attention-sum":
            parts = parts * self.score(parts).softmax(dim=1)
        return parts.sum(dim=1)
