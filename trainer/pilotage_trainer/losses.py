"""Losses on a batch of B pairs of unit descriptors; row i of each belongs together.

`ignore` is (B, B) bool: pairs that are neither positive nor negative, because they show the same ground twice.
Distances are squared and of unit vectors: d2 = 2 - 2 cos. Every loss works in the precision it is given.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pilotage.errors import ModelError

DIRECTIONS = ("both", "query-to-aerial", "aerial-to-query")


def negatives(count: int, ignore: Tensor | None, device: torch.device) -> Tensor:
    """Return (B, B) bool: what is a negative of the row's anchor."""
    others = ~torch.eye(count, dtype=torch.bool, device=device)
    return others if ignore is None else others & ~ignore


class InfoNce(nn.Module):
    """InfoNCE with label smoothing; the scale (inverse temperature) is learnt and capped at 100, or fixed."""

    def __init__(self, *, smoothing: float = 0.1, direction: str = "both", temperature: float = 0.0) -> None:
        super().__init__()
        if direction not in DIRECTIONS:
            raise ModelError(f"InfoNCE direction {direction!r}; known are {', '.join(DIRECTIONS)}")
        if not 0 <= smoothing < 1 or temperature < 0:
            raise ModelError(
                f"InfoNCE with smoothing {smoothing:g} and temperature {temperature:g}: give 0 to 1, and 0 or more"
            )
        self.smoothing, self.direction = smoothing, direction
        start = torch.tensor(math.log(1 / (temperature or 0.07)))
        self.log_scale = nn.Parameter(start, requires_grad=temperature == 0)  # temperature 0: learnt

    @property
    def scale(self) -> Tensor:
        """The inverse temperature."""
        return self.log_scale.exp().clamp(max=100.0)

    def forward(self, query: Tensor, aerial: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Cross-entropy of finding the own partner, from one side or from both."""
        logits = self.scale * query @ aerial.T
        if ignore is None:
            ignore = torch.zeros_like(logits, dtype=torch.bool)
        parts = []
        if self.direction != "aerial-to-query":
            parts.append(_smoothed_cross_entropy(logits, ignore, self.smoothing))
        if self.direction != "query-to-aerial":
            parts.append(_smoothed_cross_entropy(logits.T, ignore.T, self.smoothing))
        return torch.stack(parts).mean()


def _smoothed_cross_entropy(logits: Tensor, ignore: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with the target on the diagonal, the smoothing spread over what is not ignored."""
    log_p = functional.log_softmax(logits.masked_fill(ignore, -1e4), dim=1)
    kept = (~ignore).to(log_p.dtype)
    uniform = -(log_p * kept).sum(dim=1) / kept.sum(dim=1)
    return ((1 - smoothing) * -log_p.diagonal() + smoothing * uniform).mean()


class Wbl(nn.Module):
    """FRGeo's weighted (B+1)-tuple loss: ln(1 + sum over negatives of exp(alpha (cos_neg - cos_pos))), both ways."""

    def __init__(self, *, alpha: float = 10.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, query: Tensor, aerial: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Mean over the anchors of both sides."""
        similarity = query @ aerial.T
        positive = similarity.diagonal()
        negative = negatives(len(query), ignore, query.device)
        own = torch.eye(len(query), dtype=torch.bool, device=query.device)

        def one_way(rows: Tensor, counted: Tensor) -> Tensor:
            exponent = self.alpha * (rows - positive[:, None])
            # the own column is the 1 of ln(1 + ...)
            exponent = exponent.masked_fill(~counted, -math.inf).masked_fill(own, 0.0)
            return torch.logsumexp(exponent, dim=1).mean()

        return (one_way(similarity, negative) + one_way(similarity.T, negative.T)) / 2


class Triplet(nn.Module):
    """Triplets on squared distances: a hinge with a margin, or the weighted soft margin ln(1 + exp(gamma (pos - neg))).

    `mining` says which negatives of an anchor count: "all" of the batch, the "hard"-est one, or the "semi" sqrt(B)
    hardest ones (SAIG). A hinge averages over the triplets that still violate it, as batch-all is published.
    """

    def __init__(self, *, mining: str = "all", margin: float = 0.0, gamma: float = 10.0) -> None:
        super().__init__()
        if mining not in ("all", "hard", "semi"):
            raise ModelError(f"triplet mining {mining!r}; known are all, hard and semi")
        self.mining, self.margin, self.gamma = mining, margin, gamma

    def forward(self, query: Tensor, aerial: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Mean over the triplets of both sides."""
        distance2 = 2 - 2 * query @ aerial.T
        negative = negatives(len(query), ignore, query.device)
        return (self._one_way(distance2, negative) + self._one_way(distance2.T, negative.T)) / 2

    def _one_way(self, distance2: Tensor, negative: Tensor) -> Tensor:
        away = distance2.diagonal()[:, None] - distance2
        if self.mining != "all":
            count = 1 if self.mining == "hard" else max(1, math.isqrt(len(distance2)))
            away, columns = away.masked_fill(~negative, -math.inf).topk(min(count, len(away)), dim=1)
            negative = negative.gather(1, columns)
        away = away[negative]
        if not len(away):  # a batch without negatives teaches nothing
            return distance2.sum() * 0
        if not self.margin:
            return functional.softplus(self.gamma * away).mean()
        hinge = functional.relu(away + self.margin)
        return hinge.sum() / (hinge > 0).sum().clamp(min=1)


LOSSES: Mapping[str, tuple[Callable[..., nn.Module], Mapping[str, Any]]] = {
    "info-nce": (InfoNce, {}),
    "wbl": (Wbl, {}),
    "soft-margin": (Triplet, {"mining": "all"}),
    "triplet": (Triplet, {"mining": "all", "margin": 0.3}),
    "triplet-hard": (Triplet, {"mining": "hard", "margin": 0.3}),
}


def create_loss(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Return a loss of the table, with its options."""
    if name not in LOSSES:
        raise ModelError(f"unknown loss {name!r}; known are {', '.join(LOSSES)}")
    build, fixed = LOSSES[name]
    takes = list(inspect.signature(build).parameters)
    for key in options or {}:
        if key not in takes:
            raise ModelError(f"loss {name!r} has no option {key!r}; it has {', '.join(takes)}")
    return build(**{**fixed, **(options or {})})
