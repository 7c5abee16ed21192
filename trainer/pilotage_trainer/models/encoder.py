"""What every network here is: a branch from pixels to a unit descriptor, and two branches side by side."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int]  # height, width


class Encoder(nn.Module):
    """(N, 3, H, W) normalised pixels -> (N, descriptor) of unit length."""

    descriptor: int

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Return the last feature map, (N, C, h, w)."""

    @abstractmethod
    def aggregate(self, features: Tensor) -> Tensor:
        """Return what the feature map comes to, (N, descriptor), of any length."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe."""
        return unit(self.aggregate(self.features(pixels)))


def unit(descriptors: Tensor) -> Tensor:
    """Normalise in float32: sums of squares leave half precision's range."""
    return functional.normalize(descriptors.float(), dim=1, eps=1e-6)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), in float32 whatever comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise every position."""
        out: Tensor = self.norm(features.float().permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


class TwoBranch(nn.Module):
    """A query branch and an aerial branch; with shared weights they are one and the same."""

    def __init__(self, query: Encoder, aerial: Encoder | None) -> None:
        super().__init__()
        if aerial is not None and aerial.descriptor != query.descriptor:
            raise ValueError(f"descriptors of {query.descriptor} and {aerial.descriptor} cannot be compared")
        self.query = query
        self._separate = aerial is not None
        if aerial is not None:
            self.aerial_branch = aerial

    @property
    def shared(self) -> bool:
        """Whether one set of weights describes both views."""
        return not self._separate

    @property
    def aerial(self) -> Encoder:
        """The branch of the aerial view."""
        return self.aerial_branch if self._separate else self.query

    @property
    def descriptor(self) -> int:
        """The length of both descriptors."""
        return self.query.descriptor

    def forward(self, query: Tensor, aerial: Tensor) -> tuple[Tensor, Tensor]:
        """Describe a batch of both views."""
        if self.shared and query.shape[1:] == aerial.shape[1:]:  # one pass: batch norm sees both views alike
            both: Tensor = self.query(torch.cat([query, aerial]))
            return both[: len(query)], both[len(query) :]
        return self.query(query), self.aerial(aerial)
