"""Losses on a batch of B pairs of unit descriptors; row i of each belongs together."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class InfoNce(nn.Module):
    """Symmetric InfoNCE with a learnable scale (capped at 100) and label smoothing."""

    def __init__(self, *, smoothing: float = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def scale(self) -> Tensor:
        """The inverse temperature."""
        return self.log_scale.exp().clamp(max=100.0)

    def forward(self, query: Tensor, aerial: Tensor, ignore: Tensor | None = None) -> Tensor:
        """`ignore` is (B, B) bool: pairs that are neither positive nor negative (the same ground seen twice)."""
        logits = self.scale * query @ aerial.T
        if ignore is None:
            ignore = torch.zeros_like(logits, dtype=torch.bool)
        rows = _smoothed_cross_entropy(logits, ignore, self.smoothing)
        columns = _smoothed_cross_entropy(logits.T, ignore.T, self.smoothing)
        return (rows + columns) / 2


def _smoothed_cross_entropy(logits: Tensor, ignore: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with the target on the diagonal, the smoothing spread over what is not ignored."""
    log_p = functional.log_softmax(logits.masked_fill(ignore, -1e4), dim=1)
    kept = (~ignore).to(log_p.dtype)
    uniform = -(log_p * kept).sum(dim=1) / kept.sum(dim=1)
    return ((1 - smoothing) * -log_p.diagonal() + smoothing * uniform).mean()


def wbl(query: Tensor, aerial: Tensor, *, alpha: float = 10.0) -> Tensor:
    """FRGeo's weighted (B+1)-tuple loss: ln(1 + sum over negatives of exp(alpha (cos_neg - cos_pos))), both ways."""
    similarity = query @ aerial.T
    positive = similarity.diagonal()
    own = torch.eye(len(query), dtype=torch.bool, device=query.device)

    def one_way(rows: Tensor) -> Tensor:
        exponent = (alpha * (rows - positive[:, None])).masked_fill(own, 0.0)  # the own column is the 1 of ln(1 + ...)
        return torch.logsumexp(exponent, dim=1).mean()

    return (one_way(similarity) + one_way(similarity.T)) / 2


def soft_margin_triplet(query: Tensor, aerial: Tensor, *, gamma: float = 10.0) -> Tensor:
    """Weighted soft-margin triplet, all in-batch negatives: mean ln(1 + exp(gamma (d2_pos - d2_neg))), both ways."""
    distance2 = 2 - 2 * query @ aerial.T
    positive = distance2.diagonal()
    others = ~torch.eye(len(query), dtype=torch.bool, device=query.device)
    rows = functional.softplus(gamma * (positive[:, None] - distance2))[others]
    columns = functional.softplus(gamma * (positive[None, :] - distance2))[others]
    return (rows.mean() + columns.mean()) / 2
