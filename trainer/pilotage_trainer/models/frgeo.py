"""FRGeo (AAAI 2024): a backbone, its map averaged in four regions that both views see in the same order.

The Feature Recombination Module (FRM) has no parameters and takes any token map, so the backbone may be a CNN or a
transformer. With `width` 0 the four pooled vectors each go through the one LayerNorm and are joined as published: 3072
for ConvNeXt-T. With a width the descriptor is 4 x width (512 for 128), the compact form: LayerNorm, reduction, FRM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pilotage.errors import ModelError
from pilotage_trainer.models.encoder import ChannelNorm, Encoder, Size
from pilotage_trainer.models.trunk import token_map, trunk


def region_means(features: Tensor, *, layout: str) -> Tensor:
    """Average four regions of (N, C, H, W) into (N, 4, C), in the paper's order.

    "quadrants" of a north-up square: lower left, upper left, upper right, lower right. "strips" of a panorama: left to
    right. Turning the square 90 degrees counter-clockwise moves every region one slot on.
    """
    rows, columns = features.shape[-2:]
    if columns < (4 if layout == "strips" else 2) or (rows < 2 and layout == "quadrants"):
        raise ModelError(f"a map of {rows}x{columns} cannot be cut in four {layout}: give larger pictures")
    if layout == "strips":
        quarter = columns // 4
        strips = [features[..., i * quarter : (i + 1) * quarter if i < 3 else columns] for i in range(4)]
        return torch.stack([strip.mean(dim=(-2, -1)) for strip in strips], dim=1)
    if layout != "quadrants":
        raise ValueError(f"region layout {layout!r}; known are 'quadrants' and 'strips'")
    r, c = rows // 2, columns // 2
    upper, lower = features[..., :r, :], features[..., rows - r :, :]
    parts = (lower[..., :c], upper[..., :c], upper[..., columns - c :], lower[..., columns - c :])
    return torch.stack([part.mean(dim=(-2, -1)) for part in parts], dim=1)


class FrGeo(Encoder):
    """One branch of FRGeo."""

    def __init__(
        self,
        backbone: str,
        *,
        image_px: Size,
        layout: str = "quadrants",
        width: int = 128,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.layout, self.width = layout, width
        self.backbone = trunk(backbone, image_px=image_px, pretrained=pretrained)
        channels: int = self.backbone.num_features  # type: ignore[assignment]
        self.norm = ChannelNorm(channels)
        if width:
            self.reduce = nn.Linear(channels, width)
        self.descriptor = 4 * (width or channels)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the backbone's last map."""
        return token_map(self.backbone, pixels)

    def aggregate(self, features: Tensor) -> Tensor:
        """Recombine."""
        if not self.width:  # the published order: pool, then one LayerNorm for all four
            means: Tensor = self.norm.norm(region_means(features, layout=self.layout).float())
            return means.flatten(1)
        # nothing non-linear lies between: a 1x1 convolution before the means is this Linear after them, only dearer
        regions: Tensor = self.reduce(region_means(self.norm(features), layout=self.layout))
        return regions.flatten(1)
