"""Retrieve: which tiles look like this descriptor, among all of them or only inside a gate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pilotage.pack import RegionPack
from pilotage.values import Match

_CHUNK = 8192  # tiles scored at once: float16 on disk, float32 in the product, 16 MB at a time


class Searcher:
    """Scores a pack's descriptors. Exact; a pack with a graph answers unbounded searches from the graph."""

    def __init__(self, pack: RegionPack) -> None:
        self._pack = pack
        self._north_east_m = pack.tile_centres_m
        self._graph = pack.graph_index()

    def all(self, descriptor: NDArray[np.float32], *, k: int) -> list[Match]:
        """Return the k best tiles of the whole region, best first."""
        if self._graph is not None:
            labels, distances = self._graph.knn_query(descriptor[None], k=min(k, len(self._pack)))
            return [self._match(int(i), 1.0 - float(d)) for i, d in zip(labels[0], distances[0], strict=True)]
        return self._best(np.arange(len(self._pack)), descriptor, k)

    def near(
        self, descriptor: NDArray[np.float32], *, north_m: float, east_m: float, radius_m: float, k: int
    ) -> list[Match]:
        """Return the k best tiles whose centre lies within the radius, best first."""
        delta = self._north_east_m - (north_m, east_m)
        inside = np.flatnonzero(np.einsum("ij,ij->i", delta, delta) <= radius_m * radius_m)
        return self._best(inside, descriptor, k)

    def _best(self, rows: NDArray[np.intp], descriptor: NDArray[np.float32], k: int) -> list[Match]:
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            scores[start : start + len(chunk)] = self._pack.descriptors[chunk].astype(np.float32) @ descriptor
        k = min(k, len(rows))
        if k == 0:
            return []
        top = np.argpartition(-scores, k - 1)[:k]
        top = top[np.argsort(-scores[top], kind="stable")]
        return [self._match(int(rows[i]), float(scores[i])) for i in top]

    def _match(self, index: int, score: float) -> Match:
        return Match(self._pack.tile(index), score)
