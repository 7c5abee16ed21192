"""SAFA's spatial embedding: where to look, learnt from the map's own layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialEmbedding(nn.Module):
    """`heads` weightings of the P positions, each (channel mean) -> P/2 -> P with nothing between, as SAFA has it."""

    def __init__(self, positions: int, heads: int) -> None:
        super().__init__()
        half = max(1, positions // 2)
        self.positions = positions
        self.weight0, self.bias0 = (
            nn.Parameter(torch.empty(heads, positions, half)),
            nn.Parameter(torch.empty(heads, half)),
        )
        self.weight1, self.bias1 = (
            nn.Parameter(torch.empty(heads, half, positions)),
            nn.Parameter(torch.empty(heads, positions)),
        )
        for weight in (self.weight0, self.weight1):
            nn.init.trunc_normal_(weight, std=0.005)
        for bias in (self.bias0, self.bias1):
            nn.init.constant_(bias, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, heads, C)."""
        flat = features.flatten(2)
        if flat.shape[2] != self.positions:
            raise ValueError(f"made for {self.positions} positions, got {tuple(features.shape[2:])}")
        hidden = torch.einsum("np,hpq->nhq", flat.mean(dim=1), self.weight0) + self.bias0
        look = torch.einsum("nhq,hqp->nhp", hidden, self.weight1) + self.bias1
        return torch.einsum("nhp,ncp->nhc", look, flat)
