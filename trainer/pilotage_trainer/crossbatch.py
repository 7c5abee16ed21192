"""Negatives from batches gone by: XBM-hard uses them as they were stored, DOCB reloads them into the network.

DOCB (ISPRS IJGI 2025): per anchor, the hardest negative of the last M batches under the current network, its picture
read again and described with gradient. *Inferred*: that M counts batches, the weight of the term, and the guard: the
few hardest by stored descriptors are described anew first, because the stored order is stale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pilotage.errors import ModelError
from pilotage_trainer.sampling import Ints

KINDS = ("none", "xbm-hard", "docb")
QUERY, AERIAL = 0, 1
Describe = Callable[[Ints, int], Tensor]  # samples, side -> their descriptors under the current network


@dataclass(frozen=True, slots=True)
class CrossBatchConfig:
    """Whether and how negatives of earlier batches take part."""

    name: str = "none"
    batches: int = 20  # M
    start_epoch: int = 1  # before it, in-batch negatives only (phase 1)
    weight: float = 1.0
    gamma: float = 10.0
    guard: int = 4  # DOCB: how many of the hardest by stored descriptors are described anew to find the hardest
    apart_m: float = 0.0  # nearer places are no negatives

    def __post_init__(self) -> None:
        if self.name not in KINDS or self.batches < 1 or self.guard < 1:
            raise ModelError(
                f"cross_batch {self.name!r}, {self.batches} batches, guard {self.guard}: known are {', '.join(KINDS)}, "
                f"both numbers 1 or more"
            )


class DescriptorQueue:
    """The descriptors of the last samples, both sides, oldest overwritten first; a sample is in it once."""

    def __init__(self, size: int, descriptor: int) -> None:
        self.stored = torch.zeros(2, size, descriptor)
        self.samples = np.full(size, -1, np.int64)
        self._next = 0

    def push(self, samples: Ints, query: Tensor, aerial: Tensor) -> None:
        """Store a batch."""
        self.samples[np.isin(self.samples, samples)] = -1
        slots = (self._next + np.arange(len(samples))) % len(self.samples)
        self._next = int(slots[-1] + 1) % len(self.samples)
        self.samples[slots] = samples
        self.stored[QUERY, slots], self.stored[AERIAL, slots] = (
            query.detach().float().cpu(),
            aerial.detach().float().cpu(),
        )

    def overwrite(self, samples: Ints, side: int, descriptors: Tensor) -> None:
        """Replace what is stored of some samples by what the network says now."""
        order = np.argsort(self.samples, kind="stable")
        slots = order[np.searchsorted(self.samples[order], samples)]
        self.stored[side, slots] = descriptors.detach().float().cpu()

    def hardest(self, anchors: Tensor, side: int, barred: NDArray[np.bool_], count: int) -> Ints:
        """Return (B, count) samples, most similar first, -1 where too few are left; `barred` is (B, slots)."""
        similarity = anchors.detach().float().cpu() @ self.stored[side].T
        similarity[torch.from_numpy(barred | (self.samples < 0)[None])] = -torch.inf
        best, slots = similarity.topk(min(count, similarity.shape[1]), dim=1)
        found = self.samples[slots.numpy()]
        found[best.numpy() == -np.inf] = -1
        return np.asarray(found)


class CrossBatch:
    """The extra term of the loss, and the memory behind it."""

    def __init__(
        self,
        config: CrossBatchConfig,
        ids: Ints,
        *,
        batch: int,
        descriptor: int,
        xyz_m: NDArray[np.float64] | None = None,
    ) -> None:
        if config.apart_m > 0 and xyz_m is None:
            raise ModelError(f"cross_batch.apart_m is {config.apart_m:g}, but the data set has no positions")
        self.config, self._ids, self._xyz_m = config, ids, xyz_m
        self.queue = DescriptorQueue(config.batches * batch, descriptor)
        self.mined = self.harder = 0  # negatives found, and those still harder than the hardest of the batch
        self._last: dict[int, tuple[Ints, Tensor]] = {}  # by side: the samples chosen, and what was stored of them

    def term(self, samples: Ints, query: Tensor, aerial: Tensor, describe: Describe, *, again: bool = False) -> Tensor:
        """Return the weighted term for a batch, both directions, and store the batch. `describe` is called for DOCB.

        `again`: the same batch at other weights (ASAM's second pass). It has the negatives of the first, and nothing is
        stored: the batch itself is in the memory by then, and the weights are not those that the run goes on with.
        """
        cosine = (query * aerial).sum(dim=1)
        in_batch = (query @ aerial.T).detach().fill_diagonal_(-1)
        parts = []
        for anchors, side, rivals in ((query, AERIAL, in_batch), (aerial, QUERY, in_batch.T)):
            if not again:
                chosen = self._mine(samples, anchors, side, describe)
                self._last[side] = chosen, self._stored(chosen, side)
            chosen, stored = self._last[side]
            has = np.flatnonzero(chosen >= 0)
            if not len(has):
                continue
            negative = self._reloaded(chosen[has], side, describe) if self.config.name == "docb" else stored[has]
            negative = negative.to(anchors.device)
            similarity = (anchors[has] * negative).sum(dim=1)
            if not again:
                self.mined += len(has)
                self.harder += int((similarity.detach() > rivals[has].amax(dim=1)).sum())
            # d2_pos - d2_neg of unit vectors
            parts.append(functional.softplus(self.config.gamma * 2 * (similarity - cosine[has])).mean())
        if not again:
            self.queue.push(samples, query, aerial)
        return self.config.weight * torch.stack(parts).mean() if parts else query.sum() * 0

    def _barred(self, samples: Ints) -> NDArray[np.bool_]:
        """Return (B, slots): what is no negative of whom."""
        stored = self.queue.samples
        barred = self._ids[samples][:, None] == self._ids[stored][None]
        if self.config.apart_m > 0:
            assert self._xyz_m is not None
            away = np.linalg.norm(self._xyz_m[samples][:, None] - self._xyz_m[stored][None], axis=2)
            barred |= away < self.config.apart_m
        return np.asarray(barred)

    def _mine(self, samples: Ints, anchors: Tensor, side: int, describe: Describe) -> Ints:
        """Return one sample for every anchor, -1 for none."""
        docb = self.config.name == "docb"
        found = self.queue.hardest(anchors, side, self._barred(samples), self.config.guard if docb else 1)
        if not docb or found.shape[1] == 1:
            return found[:, 0]
        unique, where = np.unique(found, return_inverse=True)
        known = unique >= 0
        fresh = torch.full((len(unique), anchors.shape[1]), torch.nan)
        if known.any():
            with torch.no_grad():
                now = describe(unique[known], side).float().cpu()
            fresh[torch.from_numpy(known)] = now
            self.queue.overwrite(unique[known], side, now)
        similarity = torch.einsum("bd,btd->bt", anchors.detach().float().cpu(), fresh[where.reshape(found.shape)])
        best = similarity.nan_to_num(-torch.inf).argmax(dim=1).numpy()
        return np.asarray(found[np.arange(len(found)), best])

    def _reloaded(self, chosen: Ints, side: int, describe: Describe) -> Tensor:
        """Return a descriptor for every chosen sample, under the current network and with gradient."""
        unique, where = np.unique(chosen, return_inverse=True)
        return describe(unique, side).float()[torch.from_numpy(where)]

    def _stored(self, chosen: Ints, side: int) -> Tensor:
        """Return what is stored of every chosen sample; anything for -1."""
        order = np.argsort(self.queue.samples, kind="stable")
        slots = order[np.searchsorted(self.queue.samples[order], chosen)]
        return self.queue.stored[side, slots]

    def state(self) -> dict[str, object]:
        """Return what a checkpoint must carry."""
        queue = {"stored": self.queue.stored, "samples": torch.from_numpy(self.queue.samples), "next": self.queue._next}
        return {**queue, "mined": self.mined, "harder": self.harder}

    def load_state(self, state: dict[str, object]) -> None:
        """Go on with a checkpoint's memory."""
        stored, samples = state["stored"], state["samples"]
        assert isinstance(stored, Tensor) and isinstance(samples, Tensor)
        if stored.shape != self.queue.stored.shape:
            raise ModelError(
                f"the checkpoint's memory is {tuple(stored.shape)}, this recipe's {tuple(self.queue.stored.shape)}"
            )
        self.queue.stored, self.queue.samples = stored.clone(), samples.numpy().copy()
        self.queue._next = int(state["next"])  # type: ignore[call-overload]
        self.mined, self.harder = (int(state.get(key, 0)) for key in ("mined", "harder"))  # type: ignore[call-overload]
