"""FRGeo-512 (AAAI 2024, made compact): backbone, LayerNorm, 768 -> 128, four regions averaged, 4 x 128 = 512."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pilotage_trainer.timm_on_cpu import create_model


def region_means(features: Tensor, *, layout: str) -> Tensor:
    """Average four regions of (N, C, H, W) into (N, 4, C), in the paper's order.

    "quadrants" of a north-up square: lower left, upper left, upper right, lower right. "strips" of a panorama: left to
    right. Turning the square 90 degrees counter-clockwise moves every region one slot on.
    """
    rows, columns = features.shape[-2:]
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


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), in float32 whatever comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise every position."""
        out: Tensor = self.norm(features.float().permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


class FrGeo(nn.Module):
    """(N, 3, H, W) normalised pixels -> (N, 4 * width) descriptors of unit length."""

    def __init__(self, backbone: str, *, layout: str = "quadrants", width: int = 128, pretrained: bool = False) -> None:
        super().__init__()
        self.layout = layout
        self.backbone = create_model(backbone, pretrained=pretrained, num_classes=0, global_pool="")
        channels: int = self.backbone.num_features  # type: ignore[assignment]
        self.norm = ChannelNorm(channels)
        self.reduce = nn.Linear(channels, width)
        self.descriptor = 4 * width

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe."""
        features = self.norm(self.backbone(pixels))
        # nothing non-linear lies between: a 1x1 convolution before the means is this Linear after them, only dearer
        regions: Tensor = self.reduce(region_means(features, layout=self.layout))
        return nn.functional.normalize(regions.float().flatten(1), dim=1, eps=1e-6)
