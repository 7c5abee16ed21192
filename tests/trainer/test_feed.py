"""Batches: pictures that follow from seed, epoch and sample; both views changed alike; every rank its own rows."""

import dataclasses

import numpy as np
import pytest
import torch

from pilotage.errors import ModelError
from pilotage_trainer import feeds
from pilotage_trainer.data.batches import DrawConfig, DrawnBatches
from pilotage_trainer.data.drawn import DrawnConfig, sources
from pilotage_trainer.data.feed import AugmentConfig, OneView, PairReader, PlannedBatches
from pilotage_trainer.data.split import Split
from pilotage_trainer.data.views import View, polar
from pilotage_trainer.ranks import Ranks
from pilotage_trainer.recipe import recipe

GROUND, TILE = View(16, 32), View(16, 16)


def reader(split, *, ground=True, aerial=TILE, query=GROUND, **augment):
    return PairReader(split, query, aerial, AugmentConfig(**augment), ground=ground)


def planned(of, plan, *, seed=1, epoch=0, rank=0, ranks=1):
    return PlannedBatches(of, [np.asarray(p) for p in plan], seed=seed, epoch=epoch, rank=rank, ranks=ranks)


ALL = {"light": 0.8, "erase": 0.5, "flip": 0.5, "turn": 0.5}


def test_a_pair_follows_from_seed_epoch_and_sample_whoever_shares_its_batch(in_memory):
    of = reader(in_memory(range(12)), **ALL)
    one = planned(of, [[0, 1, 2, 3], [4, 5, 6, 7]])[1]
    other = planned(of, [[7, 9, 5, 11]])[0]
    assert torch.equal(one.query[3], other.query[0]) and torch.equal(one.aerial[1], other.aerial[2])
    for changed in (planned(of, [[7]], epoch=1), planned(of, [[7]], seed=2)):
        assert not torch.equal(changed[0].query[0], other.query[0])


def test_ranks_read_their_rows_of_the_same_batch(in_memory):
    of = reader(in_memory(range(12)), **ALL)
    whole = planned(of, [[3, 1, 8, 2, 0, 5]])[0]
    parts = [planned(of, [[3, 1, 8, 2, 0, 5]], rank=r, ranks=3)[0] for r in range(3)]
    assert torch.equal(torch.cat([p.query for p in parts]), whole.query)
    assert torch.equal(torch.cat([p.aerial for p in parts]), whole.aerial)
    assert all(np.array_equal(p.samples, whole.samples) for p in parts)


class Here:
    """A panorama and a north-up tile of one scene: a wall of its own shade in each direction of the compass."""

    north, east, south, west = 40, 90, 140, 190

    def __init__(self, side):
        self.side = side

    def __len__(self):
        return 4

    def name(self, index):
        return "here"

    def read(self, index, rng):
        if self.side == "panorama":  # the middle is north, clockwise to the right
            columns = np.repeat([self.south, self.west, self.north, self.east, self.south], [4, 8, 8, 8, 4])
            return np.broadcast_to(columns[None, :, None], (16, 32, 3)).astype(np.uint8)
        rows, columns = np.mgrid[:32, :32] - 15.5
        up, right = np.abs(rows) > np.abs(columns), columns > 0
        tile = np.where(up, np.where(rows < 0, self.north, self.south), np.where(right, self.east, self.west))
        return np.repeat(tile[..., None], 3, axis=2).astype(np.uint8)


def agrees(panorama, tile):
    """Whether both show the same wall in every direction."""
    strip = polar(tile, 16, 32)[2]  # far out
    same = np.abs(strip.astype(int) - panorama[8].astype(int)).max(axis=1) < 5
    return same.mean() > 0.75  # edges of walls fall between columns


@pytest.mark.parametrize("augment", [{}, {"turn": 1.0}, {"flip": 1.0}, {"turn": 1.0, "flip": 1.0}])
def test_a_turned_or_mirrored_tile_still_shows_what_the_panorama_shows(augment):
    ids = np.arange(4)
    split = Split("here", Here("panorama"), Here("tile"), ids, ids)
    of = reader(split, aerial=View(32, 32), **augment)
    seen = set()
    for seed in range(12):
        query, aerial = of.pair(0, np.random.default_rng(seed))
        assert agrees(query, aerial)
        seen.add(query[8, :, 0].tobytes())
    assert len(seen) == {0: 1, 1: 3 if "turn" in augment else 1, 2: 3}[len(augment)]
    plain = Here("tile").read(0, None)
    assert not agrees(Here("panorama").read(0, None), np.rot90(plain))  # the scene can tell


def test_squares_from_above_turn_and_mirror_with_their_tile(in_memory):
    split = in_memory(range(6), size=(16, 16))
    same = dataclasses.replace(split, aerial=split.query)
    of = reader(same, ground=False, query=TILE, turn=0.7, flip=0.5)
    for seed in range(20):
        query, aerial = of.pair(2, np.random.default_rng(seed))
        assert np.array_equal(query, aerial)


def test_a_rolled_strip_rolls_with_its_panorama(in_memory):
    split = in_memory(range(3), tile_size=(32, 32))
    plain, rolled = (reader(split, aerial=View(16, 32, polar=True), shift=chance) for chance in (0.0, 1.0))
    before, after = plain.pair(1, np.random.default_rng(0)), rolled.pair(1, np.random.default_rng(0))
    by = next(k for k in range(32) if np.array_equal(np.roll(before[0], k, axis=1), after[0]))
    assert by and np.array_equal(np.roll(before[1], by, axis=1), after[1])


@pytest.mark.parametrize("wrong", [{"aerial": TILE}, {"ground": False}, {"query": View(16, 32, fov_deg=90)}])
def test_a_square_is_not_rolled(in_memory, wrong):
    options = {"aerial": View(16, 32, polar=True), **wrong}
    with pytest.raises(ModelError, match=r"augment\.shift rolls a whole panorama and a polar strip"):
        reader(in_memory(range(3)), shift=1.0, **options)


def test_one_of_several_references_is_read_and_mined_as_the_same(in_memory):
    """University-1652 the other way: an id has many tiles; a picture is the same whoever is asked for with it."""
    split = in_memory(range(5), tiles=np.repeat(np.arange(5), 6))
    of = reader(split)
    chosen = {of.aerial_row(2, np.random.default_rng(seed)) for seed in range(60)}
    assert chosen == set(range(12, 18))
    config = recipe("frgeo-world", ["views.query_px=[16,32]", "views.aerial_px=[16,16]", "train.batch=4"])
    feed = feeds.SplitFeed(config, split, Ranks())
    alone, together = feed.pictures(np.array([3]), 1), feed.pictures(np.array([0, 1, 3]), 1)
    assert torch.equal(alone[0], together[2])


def test_unreadable_pairs_of_two_ranks_are_replaced_by_different_ids(in_memory):
    ids = np.repeat(np.arange(8), 5)  # five samples an id: replacements must differ in id, not only in sample
    plan = [[0, 5, 10, 15]]
    of = reader(in_memory(ids, broken=(0, 10)))
    for seed in range(30):
        parts = [planned(of, plan, seed=seed, rank=r, ranks=2)[0] for r in range(2)]
        rows = np.concatenate([parts[0].samples[:2], parts[1].samples[2:]])
        assert len(np.unique(ids[rows])) == 4 and not {0, 10} & set(rows.tolist())
        assert [len(p.unreadable) for p in parts] == [1, 1]


def test_a_batch_that_nothing_can_replace_is_refused(in_memory):
    of = reader(in_memory(range(4), broken=(0,)))
    with pytest.raises(ModelError, match="1 unreadable pictures in one batch, the last: picture 0"):
        planned(of, [[0, 1, 2, 3]])[0]


def test_a_described_picture_that_cannot_be_read_is_grey_and_named(in_memory):
    split = in_memory(range(4), broken=(2,))
    view = OneView(split.query, GROUND, np.array([1, 2]))
    assert view[0][1] == "" and view[1][1].startswith("picture 2") and (view[1][0] == 128).all()


def test_a_batch_that_does_not_split_over_the_processes_is_refused(in_memory):
    of = recipe("frgeo-world", ["train.batch=8"])
    with pytest.raises(ModelError, match="a batch of 8 pairs does not split over 3 processes"):
        feeds.SplitFeed(of, in_memory(range(20)), Ranks(0, 3))


class Flat:
    """Ground of one shade everywhere."""

    extent_m = 500.0

    def view_map(self, north_m, east_m, *, ground_m, side_px):
        return np.full((side_px, side_px, 3), 90, np.uint8)

    def view_camera(self, north_m, east_m, *, ground_m, side_px, rng, error, offset):
        return self.view_map(north_m, east_m, ground_m=ground_m, side_px=side_px)


def test_ranks_keep_their_rows_of_what_is_drawn():
    def drawn(rank, ranks):
        config = DrawConfig(pairs=8, places=2, side_px=16)
        return DrawnBatches([Flat()], [1.0], config=config, count=3, seed=1, epoch=0, rank=rank, ranks=ranks)[1]

    whole, parts = drawn(0, 1), [drawn(rank, 4) for rank in range(4)]
    assert torch.equal(torch.cat([p.query for p in parts]), whole.query) and len(parts[0].query) == 2
    assert torch.equal(torch.cat([p.aerial for p in parts]), whole.aerial)
    assert all(torch.equal(p.ignore, whole.ignore) and len(p.samples) == 8 for p in parts)


def test_pairs_that_places_do_not_share_evenly_are_refused():
    with pytest.raises(ModelError, match="64 pairs of 3 places"):
        DrawConfig(pairs=64, places=3)


def test_nothing_to_draw_from_is_refused(tmp_path):
    with pytest.raises(ModelError, match="train_seeds is missing"):
        sources(DrawnConfig(), orthophotos=None, cache=tmp_path)


def test_a_split_that_does_not_fit_together_is_refused(in_memory):
    with pytest.raises(ModelError, match=r"semi_id must be of shape \(3, 2\), got \(2, 2\)"):
        in_memory(range(3), semi_id=np.zeros((2, 2), np.int64))
    with pytest.raises(ModelError, match="1 ids have no reference, the first is 2"):
        in_memory(range(3), tiles=[0, 1])
    with pytest.raises(ModelError, match="apart_m is 5, but its queries have no positions"):
        in_memory(range(3), apart_m=5.0)
