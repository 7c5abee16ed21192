"""SAIG (arXiv 2302.01572): a convolutional stem and attention layers without MLPs; GAP or SMD on its tokens.

S has 11 layers, D 22, both of width 384. SMD (spatial-mixed descriptor) mixes along the tokens, channel by channel,
down to eight slots: 8 x 384 = 3072 numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pilotage.errors import ModelError
from pilotage_trainer.models.encoder import Encoder, Size

LAYERS = {"saig-s": 11, "saig-d": 22}
_STEM = ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))  # channels, stride; 16 altogether


class Attention(nn.Module):
    """x + projection(attention(LayerNorm(x)))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        q, k, v = self.qkv(self.norm(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + out


class Smd(nn.Module):
    """Along the tokens: N -> 4N, GELU, -> N -> slots."""

    def __init__(self, tokens: int, slots: int) -> None:
        super().__init__()
        self.up, self.down, self.slots = (
            nn.Linear(tokens, 4 * tokens),
            nn.Linear(4 * tokens, tokens),
            nn.Linear(tokens, slots),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, L) -> (N, slots * C)."""
        out: Tensor = self.slots(self.down(functional.gelu(self.up(features))))
        return out.transpose(1, 2).flatten(1)


class Saig(Encoder):
    """One branch; the input's size is fixed with the table of positions."""

    def __init__(
        self,
        backbone: str,
        *,
        image_px: Size,
        head: str = "gap",
        width: int = 384,
        attention_heads: int = 12,
        layers: int = 0,
        slots: int = 8,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if backbone not in LAYERS or head not in ("gap", "smd"):
            raise ModelError(
                f"SAIG of backbone {backbone!r}, head {head!r}; known are {', '.join(LAYERS)}, gap and smd"
            )
        if pretrained:
            raise ModelError(
                "SAIG's ImageNet weights are its authors' own: no timm model has them; train.start_from=FILE"
            )
        self.grid = (-(-image_px[0] // 16), -(-image_px[1] // 16))
        tokens = self.grid[0] * self.grid[1]
        stem: list[nn.Module] = []
        before = 3
        for wide, stride in _STEM:
            channels = wide * width // 384  # a narrower SAIG keeps its proportions
            stem += [
                nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        self.stem = nn.Sequential(*stem, nn.Conv2d(before, width, 1))
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, width), std=0.02))
        self.layers = nn.Sequential(*(Attention(width, attention_heads) for _ in range(layers or LAYERS[backbone])))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.smd = Smd(tokens, slots) if head == "smd" else None
        self.descriptor = width * slots if head == "smd" else width

    def features(self, pixels: Tensor) -> Tensor:
        """Return the normalised tokens on their grid."""
        patches: Tensor = self.stem(pixels)
        if tuple(patches.shape[2:]) != self.grid:
            raise ValueError(f"made for a grid of {self.grid}, got {tuple(patches.shape[2:])}")
        tokens = self.norm(self.layers(patches.flatten(2).transpose(1, 2) + self.position))
        out: Tensor = tokens.transpose(1, 2).unflatten(2, self.grid)
        return out

    def aggregate(self, features: Tensor) -> Tensor:
        """Average, or mix along the tokens."""
        if self.smd is None:
            return features.mean(dim=(-2, -1))
        out: Tensor = self.smd(features.flatten(2))
        return out
