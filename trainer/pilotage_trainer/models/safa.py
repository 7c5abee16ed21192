"""SAFA (NeurIPS 2019), the baseline of MSFA's paper: VGG16, one more pooling, eight spatial embeddings, 4096."""

from __future__ import annotations

from torch import Tensor, nn

from pilotage_trainer.models.encoder import Encoder, Size
from pilotage_trainer.models.spatial import SpatialEmbedding
from pilotage_trainer.models.trunk import Pyramid


class Safa(Encoder):
    """One branch; the input's size is fixed with the positions."""

    def __init__(
        self, backbone: str, *, image_px: Size, heads: int = 8, dropout: float = 0.2, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.pyramid = Pyramid(backbone, pretrained=pretrained)
        self.dropout = nn.Dropout(dropout)
        self.spatial = SpatialEmbedding((image_px[0] // 32) * (image_px[1] // 32), heads)
        self.descriptor = heads * self.pyramid.channels[1]

    def features(self, pixels: Tensor) -> Tensor:
        """Return the map at stride 32."""
        coarse: Tensor = self.pyramid(pixels)[1]
        return coarse

    def aggregate(self, features: Tensor) -> Tensor:
        """Embed eight ways and join."""
        out: Tensor = self.spatial(self.dropout(features))
        return out.flatten(1)
