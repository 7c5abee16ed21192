"""Metrics against slow loops that count as the papers do."""

from pathlib import Path

import numpy as np
import pytest

from pilotage.errors import ModelError
from pilotage_trainer import metrics
from pilotage_trainer.data.split import Split


class Nothing:
    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count


def split_of(query_id, aerial_id, **more):
    return Split(
        "t", Nothing(len(query_id)), Nothing(len(aerial_id)), np.asarray(query_id), np.asarray(aerial_id), **more
    )


def near(query_id, aerial_id, seed=0, width=8, noise=0.9):
    """Descriptors of which many, but not all, find their partner; some are equal to each other."""
    rng = np.random.default_rng(seed)
    own = {key: rng.standard_normal(width) for key in {*query_id, *aerial_id}}
    sides = [np.array([own[k] + noise * rng.standard_normal(width) for k in ids]) for ids in (query_id, aerial_id)]
    sides[1][5] = sides[1][9]  # a tie
    return [(s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32) for s in sides]


def slow_ranks(query, aerial, query_id, aerial_id, without=None):
    out = []
    for i, key in enumerate(query_id):
        scores = [float(query[i].astype(np.float64) @ a.astype(np.float64)) for a in aerial]
        best = max(s for s, k in zip(scores, aerial_id, strict=True) if k == key)
        gone = set() if without is None else set(without[i])
        out.append(sum(s > best + 1e-7 for s, k in zip(scores, aerial_id, strict=True) if k not in gone))
    return np.array(out)


chunked = pytest.mark.parametrize("chunk_bytes", [metrics.CHUNK_BYTES, 16 * 300 * 23, 1])  # whole, ragged, smallest


@chunked
def test_recall_and_hit_rate_are_the_slow_loops(chunk_bytes):
    rng = np.random.default_rng(1)
    query_id, aerial_id = np.arange(120) % 90, np.arange(300)
    query, aerial = near(query_id, aerial_id, noise=0.5)
    semi = rng.integers(100, 300, (120, 3))
    semi[3, 2] = -1
    semi[::2, 1] = [next(j for j in np.argsort(-aerial @ query[i]) if j != query_id[i]) for i in range(0, 120, 2)]
    result = metrics.evaluate(query, aerial, split_of(query_id, aerial_id, semi_id=semi), chunk_bytes=chunk_bytes)
    ranks = slow_ranks(query, aerial, query_id, aerial_id)
    for k in (1, 5, 10):
        assert result[f"recall_at_{k}"] == pytest.approx((ranks < k).mean())
    assert result["recall_at_1_percent"] == pytest.approx((ranks < 3).mean())
    spared = slow_ranks(query, aerial, query_id, aerial_id, without=semi)
    assert result["hit_rate"] == pytest.approx((spared < 1).mean()) and result["hit_rate"] > result["recall_at_1"]
    assert result["gallery"] == 300 and "average_precision" not in result and 0.2 < result["recall_at_1"] < 0.9


@chunked
@pytest.mark.parametrize("satellites_ask", [True, False])
def test_average_precision_is_universitys(chunk_bytes, satellites_ask):
    query_id, aerial_id = np.arange(12), np.repeat(np.arange(15), 6)
    if not satellites_ask:  # six drone views of each of twelve buildings against one satellite view of each of fifteen
        query_id, aerial_id = np.repeat(np.arange(12), 6), np.arange(15)
    query, aerial = near(query_id, aerial_id)
    result = metrics.evaluate(query, aerial, split_of(query_id, aerial_id), chunk_bytes=chunk_bytes)
    expected = []
    for i in range(len(query)):
        order = np.argsort(-(query[i] @ aerial.T), kind="stable")
        hits = np.flatnonzero(aerial_id[order] == query_id[i])
        total = 0.0
        for nth, place in enumerate(hits):
            before = nth / place if place else 1.0
            total += (before + (nth + 1) / (place + 1)) / 2
        expected.append(total / len(hits))
    assert result["average_precision"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert result["recall_at_1"] == pytest.approx((slow_ranks(query, aerial, query_id, aerial_id) < 1).mean())


def test_ties_favour_the_truth():
    query = np.eye(3, dtype=np.float32)[:1]
    aerial = np.array([[0.6, 0.8, 0], [0.6, 0, 0.8], [0.5, 0.5, 0.7]], np.float32)
    for true in (0, 1):
        assert metrics.ranks(query, aerial, np.array([true]), np.arange(3)).tolist() == [0]
    assert metrics.ranks(query, aerial, np.array([2]), np.arange(3)).tolist() == [2]


def test_metres_are_to_the_best_found():
    query = aerial = np.eye(4, dtype=np.float32)
    aerial = aerial[[0, 1, 3, 2]]  # the third and the fourth are mistaken for each other
    places = np.array([[0.0, 0, 0], [100, 0, 0], [200, 0, 0], [220, 0, 0]])
    ids = np.arange(4)
    result = metrics.evaluate(
        query, aerial, split_of(ids, ids, query_xyz_m=places + np.array([3.0, 4.0, 0]), aerial_xyz_m=places)
    )
    assert result["within_5_m"] == 0.5 and result["within_10_m"] == 0.5 and result["within_25_m"] == 1.0
    # 2 m too far east and 17 m too far west of the 20 m between them, and 4 m north
    assert result["median_m"] == pytest.approx((5 + np.hypot(17, 4)) / 2)


@chunked
def test_the_top_are_the_best_in_order(chunk_bytes):
    query, aerial = near(np.arange(20), np.arange(60))
    indices, scores = metrics.top(query, aerial, 5, chunk_bytes=chunk_bytes)
    similarity = query @ aerial.T
    for i in range(20):
        np.testing.assert_allclose(scores[i], np.sort(similarity[i])[::-1][:5], rtol=1e-5)
        np.testing.assert_allclose(similarity[i, indices[i]], scores[i], rtol=1e-5)


def unit(rng, count, width):
    rows = rng.standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_equal_references_tie_wherever_they_lie():
    rng = np.random.default_rng(2)
    query, aerial = (unit(rng, n, 64) for n in (33, 1003))
    same = rng.choice(1003, 500, replace=False)
    aerial[same] = aerial[same[0]]
    for few in (1, 2, 3, 17, 33):
        for key in same[::25]:
            ranks = metrics.ranks(query[:few], aerial, np.full(few, key), np.arange(1003))
            expected = [int((aerial @ query[i] > aerial[key] @ query[i] + 1e-6).sum()) for i in range(few)]
            assert ranks.tolist() == expected


def test_descriptors_that_are_all_alike_are_said_to_tie():
    ids = np.arange(30)
    alike = np.full((30, 16), 0.25, np.float32)
    result = metrics.evaluate(alike, alike, split_of(ids, ids))
    assert result["recall_at_1"] == 1.0 and result["tied"] == 1.0  # ties favour the truth, and are told
    apart = np.eye(30, dtype=np.float32)
    assert "tied" not in metrics.evaluate(apart, apart, split_of(ids, ids))
    apart[4] = apart[5]
    assert metrics.evaluate(apart, apart, split_of(ids, ids))["tied"] == pytest.approx(2 / 30)


@chunked
def test_cosines_do_not_depend_on_lengths(chunk_bytes):
    ids = np.arange(60)
    rng = np.random.default_rng(3)
    query = unit(rng, 60, 8)
    aerial = query + 0.4 * unit(rng, 60, 8)
    aerial /= np.linalg.norm(aerial, axis=1, keepdims=True)
    long = [side * rng.uniform(0.2, 5, (60, 1)).astype(np.float32) for side in (query, aerial)]
    split = split_of(ids, ids)
    assert metrics.evaluate(*long, split, chunk_bytes=chunk_bytes) == pytest.approx(
        metrics.evaluate(query, aerial, split)
    )
    wanted, found = metrics.top(query, aerial, 3), metrics.top(*long, 3, chunk_bytes=chunk_bytes)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5, atol=1e-6)


def peak_bytes():
    """Bytes this process ever held since the peak was last reset; Linux only."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def held_bytes(call):
    """How much more memory a call takes at its worst."""
    reset = Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")
        before = peak_bytes()
    except (OSError, IndexError):
        pytest.skip("the peak of memory cannot be measured here")
    call()
    return peak_bytes() - before


def test_a_large_gallery_is_never_a_matrix():
    rng = np.random.default_rng(0)
    query, aerial = (unit(rng, n, 64) for n in (800, 100_000))
    query_id, aerial_id = np.arange(800), np.arange(100_000)
    split = split_of(query_id, aerial_id, semi_id=rng.integers(0, 100_000, (800, 3)))
    budget = 64 * 2**20  # and as much again for what the allocator keeps
    whole = 4 * len(query_id) * len(aerial_id)
    calls = (
        lambda: metrics.evaluate(query, aerial, split, chunk_bytes=budget),
        lambda: metrics.top(query, aerial, 5, chunk_bytes=budget),
    )
    metrics.evaluate(query[:20], aerial, split_of(query_id[:20], aerial_id))  # the libraries come into memory
    for call in calls:
        assert held_bytes(call) < 2 * budget < whole


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda q, a: (np.where(np.arange(8) == 3, np.nan, q), a), "query descriptors are NaN, infinite or zero"),
        (lambda q, a: (q, a * (np.arange(len(a)) != 4)[:, None]), "1 aerial descriptors are .* the first is number 4"),
        (lambda q, a: (q[:-1], a), r"query descriptors are of shape \(11, 8\), wanted \(12, length\)"),
        (lambda q, a: (q, a[:, :5]), "descriptors of 8 and 5 cannot be compared"),
    ],
)
def test_descriptors_that_are_none_are_refused(spoil, says):
    ids = np.arange(12)
    query, aerial = spoil(*near(ids, ids))
    with pytest.raises(ModelError, match=says):
        metrics.evaluate(query, aerial, split_of(ids, ids))


def test_a_query_without_a_truth_is_refused():
    query, aerial = near(np.arange(12), np.arange(12))
    with pytest.raises(ModelError, match="query 11 has no true reference"):
        metrics.ranks(query, aerial, np.arange(12), np.arange(12) * (np.arange(12) != 11))
