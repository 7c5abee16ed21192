"""How well queries are found, as the papers count it. A gallery is gone through in pieces, never held as a matrix.

Rank: how many references are strictly more similar than the best true one; ties favour the truth. Recall@K: rank < K.
Recall@1%: K = floor(references / 100). Hit rate (VIGOR): rank 0 with the query's semi-positives taken out. Average
precision (University-1652): trapezoidal, over all true references.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pilotage.errors import ModelError
from pilotage_trainer.data.split import Split

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
WITHIN_M = (5.0, 10.0, 25.0, 50.0)
_CHUNK_BYTES = 256 * 2**20


def evaluate(query: Floats, aerial: Floats, split: Split) -> dict[str, float]:
    """Return every metric that applies to a split."""
    q, a = _checked(query, len(split.query), "query"), _checked(aerial, len(split.aerial), "aerial")
    if q.shape[1] != a.shape[1]:
        raise ModelError(f"{split.name}: descriptors of {q.shape[1]} and {a.shape[1]} cannot be compared")
    several = len(np.unique(split.aerial_id)) < len(split.aerial_id)
    found = _Found(len(q))
    ids = torch.from_numpy(split.aerial_id)
    for start, rows in _pieces(q, a):
        own = torch.from_numpy(split.query_id[start : start + len(rows)])
        semi = None if split.semi_id is None else torch.from_numpy(split.semi_id[start : start + len(rows)])
        found.take(start, rows, ids[None] == own[:, None], _any_of(ids, semi), precise=several)
    ranks = found.rank
    one_percent = max(1, len(a) // 100)
    result = {f"recall_at_{k}": _share(ranks < k) for k in (1, 5, 10)}
    result["recall_at_1_percent"] = _share(ranks < one_percent)
    if split.semi_id is not None:
        result["hit_rate"] = _share(found.rank_without_semi < 1)
    if several:
        result["average_precision"] = float(found.precision.mean())
    if split.query_xyz_m is not None and split.aerial_xyz_m is not None:
        away_m = np.linalg.norm(split.query_xyz_m - split.aerial_xyz_m[found.best], axis=1)
        result |= {f"within_{m:g}_m": _share(away_m <= m) for m in WITHIN_M}
        result["median_m"] = float(np.median(away_m))
    result["gallery"] = float(len(a))
    return result


def ranks(query: Floats, aerial: Floats, query_id: Ints, aerial_id: Ints) -> Ints:
    """Return how many references are strictly more similar to each query than its best true one."""
    q, a = _checked(query, len(query_id), "query"), _checked(aerial, len(aerial_id), "aerial")
    found = _Found(len(q))
    ids = torch.from_numpy(aerial_id)
    for start, rows in _pieces(q, a):
        own = torch.from_numpy(query_id[start : start + len(rows)])
        found.take(start, rows, ids[None] == own[:, None], None, precise=False)
    return found.rank


def top(query: Floats, aerial: Floats, k: int) -> tuple[Ints, Floats]:
    """Return (Q, k): the most similar references of each query, best first, and how similar they are."""
    q, a = _checked(query, len(query), "query"), _checked(aerial, len(aerial), "aerial")
    k = min(k, len(a))
    indices, scores = np.empty((len(q), k), np.int64), np.empty((len(q), k), np.float32)
    for start, rows in _pieces(q, a):
        best = rows.topk(k, dim=1)
        indices[start : start + len(rows)], scores[start : start + len(rows)] = (
            best.indices.numpy(),
            best.values.numpy(),
        )
    return indices, scores


class _Found:
    """What every query's row of similarities comes to."""

    def __init__(self, count: int) -> None:
        self.rank = np.empty(count, np.int64)
        self.rank_without_semi = np.empty(count, np.int64)
        self.best = np.empty(count, np.int64)
        self.precision = np.zeros(count)

    def take(self, start: int, rows: Tensor, true: Tensor, semi: Tensor | None, *, precise: bool) -> None:
        """Take in the rows of some queries."""
        here = slice(start, start + len(rows))
        best_true = rows.masked_fill(~true, -torch.inf).amax(dim=1, keepdim=True)
        if not bool(torch.isfinite(best_true).all()):
            raise ModelError(
                f"query {start + int((~torch.isfinite(best_true[:, 0])).nonzero()[0])} has no true reference"
            )
        better = rows > best_true
        self.rank[here] = better.sum(dim=1).numpy()
        self.best[here] = rows.argmax(dim=1).numpy()
        if semi is not None:
            self.rank_without_semi[here] = (better & ~semi).sum(dim=1).numpy()
        if precise:
            for i in range(len(rows)):
                self.precision[start + i] = _average_precision(rows[i], true[i])


def _average_precision(similarity: Tensor, true: Tensor) -> float:
    """Trapezoidal average precision: the mean over true references of (precision before + precision at) / 2."""
    order = similarity.argsort(descending=True, stable=True)
    places = true[order].nonzero()[:, 0].double().numpy()
    nth = np.arange(len(places))
    at = (nth + 1) / (places + 1)
    before = np.where(places == 0, 1.0, nth / np.maximum(places, 1))
    return float(((before + at) / 2).mean())


def _any_of(ids: Tensor, semi: Tensor | None) -> Tensor | None:
    """Return (rows, references): whose id is among the row's semi-positives."""
    if semi is None:
        return None
    out = torch.zeros(len(semi), len(ids), dtype=torch.bool)
    for column in range(semi.shape[1]):
        out |= ids[None] == semi[:, column, None]
    return out


def _pieces(query: Tensor, aerial: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (start, similarities of some queries to all references); a piece and its masks stay small."""
    step = max(1, _CHUNK_BYTES // (8 * len(aerial)))
    for start in range(0, len(query), step):
        yield start, query[start : start + step] @ aerial.T


def _checked(rows: Floats, count: int, side: str) -> Tensor:
    if rows.ndim != 2 or len(rows) != count or not count:
        raise ModelError(f"{side} descriptors are of shape {rows.shape}, wanted ({count}, length), one or more")
    lengths = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise ModelError(f"{len(bad)} {side} descriptors are NaN, infinite or zero, the first is number {bad[0]}")
    return torch.from_numpy(np.ascontiguousarray(rows, np.float32))


def _share(right: NDArray[np.bool_]) -> float:
    return float(np.mean(right))
