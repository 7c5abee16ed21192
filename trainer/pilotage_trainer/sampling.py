"""Which pairs share a batch. Every plan of an epoch shows every id, and no batch holds an id twice.

A sample is a query of the split; its id is that of its reference. Plans are pure functions of the seed, the epoch and
the neighbours last mined, so that a resumed run draws the batches it would have drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pilotage.errors import ModelError

Ints = NDArray[np.int64]
SAMPLERS = ("random", "gps", "dss", "gps+dss", "global")


def unique_batches(order: Iterable[int], ids: Ints, batch: int) -> list[Ints]:
    """Cut an order into batches without a repeated id; a sample that collides waits for the next batch."""
    full: list[list[int]] = []
    open_batches: deque[tuple[list[int], set[int]]] = deque()
    for sample in order:
        key = int(ids[sample])
        for members, taken in open_batches:
            if key not in taken:
                members.append(sample)
                taken.add(key)
                break
        else:
            open_batches.append(([sample], {key}))
        while open_batches and len(open_batches[0][0]) == batch:
            full.append(open_batches.popleft()[0])
    full += [members for members, _ in open_batches]
    return [np.array(members, np.int64) for members in full]


def filled(batches: list[Ints], ids: Ints, batch: int, rng: np.random.Generator) -> list[Ints]:
    """Fill short batches with samples of ids that they do not hold: all batches are of one size."""
    size = min(batch, len(np.unique(ids)))
    out = []
    for members in batches:
        if len(members) < size:
            spare = rng.permutation(np.flatnonzero(~np.isin(ids, ids[members])))
            first = np.sort(np.unique(ids[spare], return_index=True)[1])[: size - len(members)]
            members = np.concatenate([members, spare[first]])  # noqa: PLW2901
        out.append(members)
    return out


def neighbour_batches(  # noqa: C901
    near: Ints, ids: Ints, batch: int, *, k: int, rng: np.random.Generator
) -> list[Ints]:
    """Build batches of neighbourhoods, as Sample4Geo does.

    `near` is (samples, K): the index into the sorted unique ids of each sample's K nearest others. A seed brings its
    k/2 nearest and k/2 drawn from the rest of the K; who is used up, or in the batch already, is passed over.
    """
    unique, of_sample = np.unique(ids, return_inverse=True)
    fresh: list[list[int]] = [[] for _ in unique]  # samples of each id that are still to come
    order = rng.permutation(len(ids))
    for sample in order[::-1]:
        fresh[of_sample[sample]].append(int(sample))
    pool, used = deque(order.tolist()), np.zeros(len(ids), bool)
    out: list[Ints] = []
    members: list[int] = []
    taken: set[int] = set()
    failures = 0

    def add(sample: int) -> None:
        nonlocal members, taken
        members.append(sample)
        taken.add(int(of_sample[sample]))
        used[sample] = True
        if len(members) == batch:
            out.append(np.array(members, np.int64))
            members, taken = [], set()

    while pool and failures < 1024:
        seed = pool.popleft()
        if used[seed]:
            continue
        if int(of_sample[seed]) in taken:
            pool.append(seed)
            failures += 1
            continue
        failures = 0
        add(seed)
        always = near[seed, : k // 2]
        drawn = rng.permutation(near[seed, k // 2 :])[: k - k // 2]
        for other in np.concatenate([always, drawn]).tolist():
            if not members:
                break  # the batch this neighbourhood belongs to is full
            while fresh[other] and used[fresh[other][-1]]:
                fresh[other].pop()
            if fresh[other] and other not in taken:
                add(fresh[other].pop())
    left = [s for s in [*members, *pool] if not used[s] or s in members]
    return out + unique_batches(dict.fromkeys(left), ids, batch)


def nearest_places(xyz_m: NDArray[np.float64], k: int, *, chunk: int = 512) -> Ints:
    """Return (N, k): the nearest other places, nearest first."""
    places = torch.from_numpy(np.ascontiguousarray(xyz_m - xyz_m.mean(axis=0)))
    k = min(k, len(places) - 1)
    out = np.empty((len(places), k), np.int64)
    for start in range(0, len(places), chunk):
        rows = places[start : start + chunk]
        # differences, not the expanded square: earth-centred metres would cancel to nothing in it
        distance = torch.cdist(rows, places, compute_mode="donot_use_mm_for_euclid_dist")
        distance[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = torch.inf
        out[start : start + len(rows)] = distance.topk(k, largest=False).indices.numpy()
    return out


def most_similar(queries: torch.Tensor, aerials: torch.Tensor, own: Ints, k: int, *, chunk: int = 1024) -> Ints:
    """Return (Q, k): the rows of `aerials` most similar to each query, its `own` row (-1: none) left out, best first.

    Holds chunk x R similarities at a time: 90,000 descriptors of 512 stay well within 2 GiB.
    """
    k = min(k, len(aerials) - 1)
    out = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), chunk):
        rows = queries[start : start + chunk] @ aerials.T
        mine = torch.from_numpy(own[start : start + len(rows)])
        has = torch.nonzero(mine >= 0)[:, 0]
        rows[has, mine[has]] = -torch.inf
        out[start : start + len(rows)] = rows.topk(k, dim=1).indices.cpu().numpy()
    return out


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """How batches are drawn."""

    name: str = "random"
    near: int = 128  # K: how many neighbours are kept of every sample
    pick: int = 64  # k: how many of them join its batch; half are the nearest, half drawn from the rest
    refresh_epochs: int = 4  # dss: how often descriptors are made anew
    pool: int = 40_000  # global: how many samples are searched
    top: int = 100  # global: the hard partner is drawn from this many

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ModelError(f"unknown sampler {self.name!r}; known are {', '.join(SAMPLERS)}")
        if not 0 < self.pick <= self.near or self.refresh_epochs < 1:
            raise ModelError(
                f"sampler picks {self.pick} of {self.near} neighbours: give pick <= near, refresh_epochs >= 1"
            )
        if self.pool < 2 or self.top < 1:
            raise ModelError(f"sampler searches {self.pool} samples for {self.top}: give pool >= 2, top >= 1")


class Sampler:
    """The plan of every epoch of one run; `mined` is what a checkpoint must carry."""

    def __init__(
        self, config: SamplerConfig, ids: Ints, *, batch: int, seed: int, xyz_m: NDArray[np.float64] | None = None
    ) -> None:
        self.config, self.ids, self.batch, self.seed = config, ids, batch, seed
        self.mined: Ints | None = None  # (samples, K) index into the unique ids
        self._unique, self._first, self._of_sample = np.unique(ids, return_index=True, return_inverse=True)
        if len(self._unique) < 2:
            raise ModelError("training needs two ids or more: one alone has no negatives")
        if config.name.startswith("gps"):
            if xyz_m is None:
                raise ModelError(
                    f"sampler {config.name!r} needs positions, and this data set has none: use dss or random"
                )
            self.mined = nearest_places(xyz_m[self._first], config.near)[self._of_sample]

    def wants_descriptors(self, epoch: int) -> bool:
        """Whether neighbours are to be mined before this epoch, from descriptors of the current network."""
        name, every = self.config.name, self.config.refresh_epochs
        return epoch > 0 and ((name in ("dss", "gps+dss") and epoch % every == 0) or name == "global")

    def refresh(self, queries: torch.Tensor, aerials: torch.Tensor, epoch: int) -> None:
        """Mine neighbours: `queries` a row a sample, `aerials` a row a unique id, sorted."""
        near = self.config.near
        if self.config.name != "global":
            self.mined = most_similar(queries, aerials, self._of_sample, near)
            return
        pool = np.sort(np.random.default_rng([self.seed, 7, epoch]).permutation(len(aerials))[: self.config.pool])
        own = np.searchsorted(pool, self._of_sample)
        inside = (own < len(pool)) & (pool[np.minimum(own, len(pool) - 1)] == self._of_sample)
        found = most_similar(queries, aerials[torch.from_numpy(pool)], np.where(inside, own, -1), self.config.top)
        self.mined = pool[found]

    def plan(self, epoch: int) -> list[Ints]:
        """Return the batches of an epoch."""
        rng = np.random.default_rng([self.seed, 11, epoch])
        if self.mined is None:
            batches = unique_batches(rng.permutation(len(self.ids)).tolist(), self.ids, self.batch)
        elif self.config.name == "global":
            batches = self._half_hard(rng)
        else:
            batches = neighbour_batches(
                self.mined, self.ids, self.batch, k=min(self.config.pick, self.mined.shape[1]), rng=rng
            )
        return filled(batches, self.ids, self.batch, rng)

    def _half_hard(self, rng: np.random.Generator) -> list[Ints]:
        """Every sample is an anchor once, and each batch is half anchors, half one hard partner of each.

        The public sampler keeps the epoch's length and shows half of the samples as anchors; here all are, in twice the
        batches, so that a run is compared by its steps and not by its epochs.
        """
        assert self.mined is not None
        samples: list[list[int]] = [[] for _ in self._unique]
        for sample, key in enumerate(self._of_sample):
            samples[key].append(sample)
        out = []
        for anchors in unique_batches(rng.permutation(len(self.ids)).tolist(), self.ids, max(1, self.batch // 2)):
            taken = set(self._of_sample[anchors].tolist())
            members = anchors.tolist()
            for anchor in anchors:
                for key in rng.permutation(self.mined[anchor]).tolist():
                    if key not in taken:
                        taken.add(key)
                        members.append(int(rng.choice(samples[key])))
                        break
            out.append(np.array(members, np.int64))
        return out
