"""The papers' baseline: a backbone, global average pooling, LayerNorm; a width reduces what comes out."""

from __future__ import annotations

from torch import Tensor, nn

from pilotage_trainer.models.encoder import Encoder, Size
from pilotage_trainer.models.trunk import token_map, trunk


class Gap(Encoder):
    """One branch: as many numbers as the backbone has channels, or `width`."""

    def __init__(self, backbone: str, *, image_px: Size, width: int = 0, pretrained: bool = False) -> None:
        super().__init__()
        self.backbone = trunk(backbone, image_px=image_px, pretrained=pretrained)
        channels: int = self.backbone.num_features  # type: ignore[assignment]
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.reduce = nn.Linear(channels, width) if width else nn.Identity()
        self.descriptor = width or channels

    def features(self, pixels: Tensor) -> Tensor:
        """Return the backbone's last map."""
        return token_map(self.backbone, pixels)

    def aggregate(self, features: Tensor) -> Tensor:
        """Pool, normalise, reduce."""
        out: Tensor = self.reduce(self.norm(features.mean(dim=(-2, -1)).float()))
        return out
