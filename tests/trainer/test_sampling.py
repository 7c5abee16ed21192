"""Who shares a batch: no id twice, every sample every epoch, and the neighbours that were asked for."""

import math

import numpy as np
import pytest
import torch

from pilotage.errors import ModelError
from pilotage_trainer.data.split import earth_xyz_m
from pilotage_trainer.sampling import (
    SAMPLERS,
    Sampler,
    SamplerConfig,
    filled,
    most_similar,
    nearest_places,
    neighbour_batches,
    unique_batches,
)


def unit(count, width, seed):
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


@pytest.fixture
def ids():
    """Up to four samples of an id, as panoramas of VIGOR and drone views of University-1652 have."""
    rng = np.random.default_rng(0)
    return np.concatenate([np.arange(70), rng.integers(0, 70, 90)]) * 3 + 5


@pytest.fixture
def places(ids):
    return np.random.default_rng(1).uniform(0, 1000, (70, 3))[(ids - 5) // 3]


def sampler(name, ids, places, **more):
    config = SamplerConfig(name=name, **{"near": 16, "pick": 8, "top": 10, "refresh_epochs": 2, **more})
    return Sampler(config, ids, batch=24, seed=3, xyz_m=places)


def mined(made, ids, epoch, seed=5):
    if made.wants_descriptors(epoch):
        made.refresh(unit(len(ids), 8, seed), unit(len(np.unique(ids)), 8, seed + 1), epoch)
    return made.plan(epoch)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_id_twice_in_a_batch_and_every_sample_every_epoch(name, ids, places):
    made = sampler(name, ids, places)
    for epoch in range(6):
        plan = mined(made, ids, epoch)
        assert {len(batch) for batch in plan} == {24}
        assert all(len(np.unique(ids[batch])) == len(batch) for batch in plan)
        assert np.array_equal(np.unique(np.concatenate(plan)), np.arange(len(ids)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_plan_follows_from_seed_epoch_and_neighbours(name, ids, places):
    one, two, other = (sampler(name, ids, places) for _ in range(3))
    other.seed = 4
    plans = [mined(made, ids, 2) for made in (one, two, other)]
    assert all(np.array_equal(a, b) for a, b in zip(plans[0], plans[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(plans[0], plans[2], strict=False))
    assert not all(np.array_equal(a, b) for a, b in zip(plans[0], mined(one, ids, 3), strict=False))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("count", [2, 5])
def test_fewer_ids_than_a_batch_make_smaller_ones(name, count):
    ids = np.arange(count)
    made = sampler(name, ids, np.eye(3)[np.arange(count) % 3] * 10 + np.arange(count)[:, None])
    for epoch in range(3):
        plan = mined(made, ids, epoch)
        assert {len(batch) for batch in plan} == {count}


def test_neighbours_share_the_batch_of_their_seed():
    """The first of every batch is a seed: its k/2 nearest are with it unless they were used up before."""
    count, near, k = 400, 20, 10
    rng = np.random.default_rng(0)
    ids = np.arange(count)
    table = np.array([rng.permutation(np.delete(ids, i))[:near] for i in ids])
    batches = neighbour_batches(table, ids, 11, k=k, rng=np.random.default_rng(1))
    first = batches[0]
    assert set(table[first[0], : k // 2]) <= set(first)
    rest = set(first) - {first[0]} - set(table[first[0], : k // 2])
    assert len(rest) == 5 and rest <= set(table[first[0], k // 2 :])
    used = set()
    for batch in batches[:10]:
        fresh = set(table[batch[0], : k // 2]) - used
        assert fresh <= set(batch)
        used |= set(batch.tolist())


def test_k_of_all_takes_every_neighbour():
    ids = np.arange(60)
    table = np.array([np.delete(ids, i)[:8] for i in ids])
    batch = neighbour_batches(table, ids, 9, k=8, rng=np.random.default_rng(0))[0]
    assert set(batch) == {batch[0], *table[batch[0]]}


def test_dss_brings_look_alikes_together_and_random_does_not(ids):
    """Descriptors in ten tight groups: a batch of two neighbourhoods holds few groups."""
    own = np.unique(ids)
    groups = torch.arange(len(own)) % 10
    aerial = torch.nn.functional.normalize(torch.eye(16)[groups] + 0.01 * unit(len(own), 16, 0), dim=1)
    query = aerial[torch.from_numpy(np.searchsorted(own, ids))]
    made = sampler("dss", ids, None, near=6, pick=6)
    mixed = np.mean([len(np.unique(groups[np.searchsorted(own, ids[b])])) for b in made.plan(2)])
    made.refresh(query, aerial, 2)
    sorted_ = np.mean([len(np.unique(groups[np.searchsorted(own, ids[b])])) for b in made.plan(2)[:4]])
    assert mixed > 8 and sorted_ < 6


def test_half_of_a_globally_mined_batch_are_hard_partners(ids):
    made = sampler("global", ids, None)
    query, aerial = unit(len(ids), 8, 5), unit(70, 8, 6)
    made.refresh(query, aerial, 1)
    own = np.unique(ids)
    similarity = (query @ aerial.T).numpy()
    similarity[np.arange(len(ids)), np.searchsorted(own, ids)] = -np.inf
    top = np.argsort(-similarity, axis=1)[:, :10]
    for batch in made.plan(1)[:-2]:  # the last ones may have been filled
        anchors, partners = batch[:12], batch[12:]
        keys = np.searchsorted(own, ids[partners])
        assert all(np.isin(key, top[anchors]).any() for key in keys) and len(partners) == 12


def test_descriptors_are_asked_for_when_the_paper_refreshes(ids, places):
    wants = {
        name: [e for e in range(9) if sampler(name, ids, places, refresh_epochs=4).wants_descriptors(e)]
        for name in SAMPLERS
    }
    assert wants == {"random": [], "gps": [], "dss": [4, 8], "gps+dss": [4, 8], "global": [1, 2, 3, 4, 5, 6, 7, 8]}


def haversine_m(a, b):
    (lat0, lon0), (lat1, lon1) = np.radians(a), np.radians(b)
    h = math.sin((lat1 - lat0) / 2) ** 2 + math.cos(lat0) * math.cos(lat1) * math.sin((lon1 - lon0) / 2) ** 2
    return 2 * 6_371_004 * math.asin(math.sqrt(h))


@pytest.mark.parametrize(
    ("lat", "lon", "spread"), [(40.0, -80.0, 1e-4), (0.0, 180.0, 0.5), (84.0, 10.0, 3.0), (0.0, 0.0, 60.0)]
)
def test_the_nearest_places_are_the_great_circles(lat, lon, spread):
    """Metres apart, over the date line, near a pole: radians, and no column of the table is mixed up."""
    rng = np.random.default_rng(0)
    deg = np.array([lat, lon]) + rng.uniform(-spread, spread, (40, 2))
    deg[:, 1] = (deg[:, 1] + 180) % 360 - 180
    found = nearest_places(earth_xyz_m(deg[:, 0], deg[:, 1]), 5, chunk=7)
    for i in range(40):
        distance = [haversine_m(deg[i], deg[j]) if j != i else math.inf for j in range(40)]
        assert found[i].tolist() == np.argsort(distance, kind="stable")[:5].tolist()


def test_the_most_similar_leave_out_the_own():
    query, aerial = unit(30, 6, 0), unit(50, 6, 1)
    own = np.where(np.arange(30) % 3 == 0, -1, np.arange(30))
    found = most_similar(query, aerial, own, 7, chunk=4)
    for i in range(30):
        row = (query[i] @ aerial.T).tolist()
        order = sorted((j for j in range(50) if j != own[i]), key=lambda j: -row[j])
        assert found[i].tolist() == order[:7]


def test_the_search_holds_a_chunk_of_the_matrix_at_a_time(monkeypatch):
    largest = 0
    real = torch.Tensor.__matmul__

    def watched(a, b):
        nonlocal largest
        out = real(a, b)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    most_similar(unit(5000, 4, 0), unit(3000, 4, 1), np.arange(5000) % 3000, 5)
    assert 0 < largest <= 1024 * 3000
    assert 1024 * 90_000 * 4 * 2 < 2 * 2**30  # similarities and their copy at the size of a data set


def test_batches_without_collisions_keep_the_order():
    ids = np.array([1, 1, 2, 3, 2, 4])
    assert [b.tolist() for b in unique_batches(range(6), ids, 2)] == [[0, 2], [1, 3], [4, 5]]
    out = filled([np.array([0])], ids, 4, np.random.default_rng(0))[0]
    assert out[0] == 0 and sorted(ids[out]) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "best"}, "unknown sampler 'best'; known are random"),
        ({"near": 4, "pick": 5}, "give pick <= near"),
        ({"pick": 0}, "give pick <= near"),
        ({"refresh_epochs": 0}, "refresh_epochs >= 1"),
        ({"name": "global", "pool": 1}, "give pool >= 2, top >= 1"),
        ({"name": "global", "top": 0}, "give pool >= 2, top >= 1"),
    ],
)
def test_configs_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ModelError, match=says):
        SamplerConfig(**options)


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ModelError, match="two ids or more"):
        Sampler(SamplerConfig(), np.zeros(5, np.int64), batch=2, seed=0)
    with pytest.raises(ModelError, match="'gps' needs positions"):
        Sampler(SamplerConfig(name="gps"), np.arange(5), batch=2, seed=0)
