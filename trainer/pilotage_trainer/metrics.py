"""How well queries are found, as the papers count it. A gallery is gone through in pieces, never held as a matrix.

Rank: how many references are strictly more similar than the best true one; ties favour the truth. Recall@K: rank < K.
Recall@1%: K = floor(references / 100). Hit rate (VIGOR): rank 0 with the query's semi-positives taken out. Average
precision (University-1652): trapezoidal, over all true references. Tied: a wrong reference is exactly as similar as the
truth, which counts as found; a network that describes everything alike is all ties, and recall of 1.
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
CHUNK_BYTES = 256 * 2**20  # of everything that is made of the similarities at one time
_BYTES_EACH = 16  # a similarity, its copy, and up to eight masks
_FEWEST_ROWS = 16  # of a product: of 1 to 3 rows, MKL gives equal references similarities that differ by 6e-8
_UNIT_WITHIN = 1e-4


def evaluate(query: Floats, aerial: Floats, split: Split, *, chunk_bytes: int = CHUNK_BYTES) -> dict[str, float]:
    """Return every metric that applies to a split."""
    _check_counts(query, len(split.query), aerial, len(split.aerial))
    precise = _has_several(split.aerial_id) or (split.semi_id is None and _has_several(split.query_id))
    found = _Found(len(query))
    ids = torch.from_numpy(split.aerial_id)
    for start, rows in _pieces(query, aerial, chunk_bytes):
        own = torch.from_numpy(split.query_id[start : start + len(rows)])
        semi = None if split.semi_id is None else torch.from_numpy(split.semi_id[start : start + len(rows)])
        found.take(start, rows, ids[None] == own[:, None], _any_of(ids, semi), precise=precise)
    ranks = found.rank
    one_percent = max(1, len(aerial) // 100)
    result = {f"recall_at_{k}": _share(ranks < k) for k in (1, 5, 10)}
    result["recall_at_1_percent"] = _share(ranks < one_percent)
    if split.semi_id is not None:
        result["hit_rate"] = _share(found.rank_without_semi < 1)
    if precise:
        result["average_precision"] = float(found.precision.mean())
    if split.query_xyz_m is not None and split.aerial_xyz_m is not None:
        away_m = np.linalg.norm(split.query_xyz_m - split.aerial_xyz_m[found.best], axis=1)
        result |= {f"within_{m:g}_m": _share(away_m <= m) for m in WITHIN_M}
        result["median_m"] = float(np.median(away_m))
    if found.tied.any():
        result["tied"] = _share(found.tied)
    result["gallery"] = float(len(aerial))
    return result


def ranks(query: Floats, aerial: Floats, query_id: Ints, aerial_id: Ints, *, chunk_bytes: int = CHUNK_BYTES) -> Ints:
    """Return how many references are strictly more similar to each query than its best true one."""
    _check_counts(query, len(query_id), aerial, len(aerial_id))
    found = _Found(len(query))
    ids = torch.from_numpy(aerial_id)
    for start, rows in _pieces(query, aerial, chunk_bytes):
        own = torch.from_numpy(query_id[start : start + len(rows)])
        found.take(start, rows, ids[None] == own[:, None], None, precise=False)
    return found.rank


def top(query: Floats, aerial: Floats, k: int, *, chunk_bytes: int = CHUNK_BYTES) -> tuple[Ints, Floats]:
    """Return (Q, k): the most similar references of each query, best first, and their cosines."""
    k = min(k, len(aerial))
    indices, scores = np.empty((len(query), k), np.int64), np.empty((len(query), k), np.float32)
    for start, rows in _pieces(query, aerial, chunk_bytes):
        here = slice(start, start + len(rows))
        best = rows.topk(k, dim=1)
        indices[here], scores[here] = best.indices.numpy(), best.values.numpy()
    return indices, scores


class _Found:
    """What every query's row of similarities comes to."""

    def __init__(self, count: int) -> None:
        self.rank = np.empty(count, np.int64)
        self.rank_without_semi = np.empty(count, np.int64)
        self.best = np.empty(count, np.int64)
        self.precision = np.zeros(count)
        self.tied = np.zeros(count, np.bool_)

    def take(self, start: int, rows: Tensor, true: Tensor, semi: Tensor | None, *, precise: bool) -> None:
        """Take in the rows of some queries."""
        here = slice(start, start + len(rows))
        wrong = ~true
        best_true = rows.masked_fill(wrong, -torch.inf).amax(dim=1, keepdim=True)
        if not bool(torch.isfinite(best_true).all()):
            raise ModelError(
                f"query {start + int((~torch.isfinite(best_true[:, 0])).nonzero()[0])} has no true reference"
            )
        better = rows > best_true
        self.rank[here] = _counted(better)
        self.tied[here] = ((rows == best_true) & wrong).any(dim=1).numpy()
        self.best[here] = rows.argmax(dim=1).numpy()
        if semi is not None:
            self.rank_without_semi[here] = _counted(better & ~semi)
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


def _pieces(query: Floats, aerial: Floats, chunk_bytes: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (start, cosines of some queries with all references), in a buffer that the next piece overwrites.

    A piece and its masks stay within `chunk_bytes`, or what sixteen queries take.
    """
    q, a = _checked(query, "query"), _checked(aerial, "aerial")
    if q.shape[1] != a.shape[1]:
        raise ModelError(f"descriptors of {q.shape[1]} and {a.shape[1]} cannot be compared")
    lengths = [_lengths(side) for side in (q, a)]
    unit = all(bool(((length - 1).abs() < _UNIT_WITHIN).all()) for length in lengths)
    step = max(_FEWEST_ROWS, chunk_bytes // (_BYTES_EACH * len(a)))
    buffer = torch.empty(min(step, max(len(q), _FEWEST_ROWS)), len(a))
    for start in range(0, len(q), step):
        some = q[start : start + step]
        full = some if len(some) >= _FEWEST_ROWS else some[torch.arange(_FEWEST_ROWS) % len(some)]
        rows = torch.mm(full, a.T, out=buffer[: len(full)])[: len(some)]
        if not unit:
            rows.div_(lengths[1]).div_(lengths[0][start : start + step, None])
        yield start, rows


def _check_counts(query: Floats, queries: int, aerial: Floats, references: int) -> None:
    for rows, count, side in ((query, queries, "query"), (aerial, references, "aerial")):
        if rows.ndim != 2 or len(rows) != count or not count:
            raise ModelError(f"{side} descriptors are of shape {rows.shape}, wanted ({count}, length), one or more")


def _checked(rows: Floats, side: str) -> Tensor:
    if rows.ndim != 2 or not rows.size:
        raise ModelError(f"{side} descriptors are of shape {rows.shape}, wanted (count, length), one or more")
    out = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
    lengths = _lengths(out)
    bad = (~(torch.isfinite(lengths) & (lengths > 0))).nonzero()
    if len(bad):
        raise ModelError(f"{len(bad)} {side} descriptors are NaN, infinite or zero, the first is number {int(bad[0])}")
    return out


def _lengths(rows: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths


def _counted(rows: Tensor) -> Ints:
    """Count what is true in every row; torch's own sum would first make 8 bytes of each."""
    return np.asarray(np.count_nonzero(rows.numpy(), axis=1), np.int64)


def _has_several(ids: Ints) -> bool:
    return len(np.unique(ids)) < len(ids)


def _share(right: NDArray[np.bool_]) -> float:
    return float(np.mean(right))
