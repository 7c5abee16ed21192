"""The synthetic world as a data set: places that can be stood on, rendered once, whole, whoever asks."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pilotage.errors import ModelError
from pilotage.world.generate import WorldConfig
from pilotage_trainer.data import world_split as module
from pilotage_trainer.data.world_split import PlacesConfig, world_split
from pilotage_trainer.data.worlds import cached_world

SMALL = {"places": 12, "world_size_m": 300.0, "tile_px": 32, "query_height_px": 16, "query_width_px": 64}


def small(**changes):
    return PlacesConfig(**{**SMALL, **changes})


def above_ground_m(world, north_m, east_m):
    row, column = (int((world.size_m / 2 + v) / world.gsd_m) for v in (-north_m, east_m))
    return float(world.surface_m[row, column] - world.terrain_m[row, column])


def test_places_stand_on_open_ground_inside_the_world_and_apart(world_cache):
    split = world_split([1000], small(places=40), cache=world_cache)
    world = cached_world(1000, world_cache, WorldConfig(size_m=300.0))
    places = split.query_xyz_m[:, :2]
    assert max(above_ground_m(world, *place) for place in places) <= 0.4
    assert np.abs(places).max() + 80 / 2 <= 150
    away = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    assert away.min() >= 12
    assert np.array_equal(split.query_id, split.aerial_id) and len(split.query) == 40
    assert any(above_ground_m(world, n, e) > 0.4 for n, e in np.random.default_rng(0).uniform(-90, 90, (200, 2)))


def test_a_camera_off_the_middle_of_its_tile_stands_on_open_ground_too(world_cache, tmp_path, monkeypatch):
    stood = []

    def rendered(world, *, north_m, east_m, yaw_rad, panorama):
        stood.append((north_m, east_m))
        return np.zeros((panorama.height, panorama.width, 3), np.uint8)

    monkeypatch.setattr(module, "render_ground", rendered)
    world = cached_world(1000, world_cache, WorldConfig(size_m=300.0))
    monkeypatch.setattr(module, "cached_world", lambda *_: world)
    split = world_split([1000], small(places=40, offset=0.3), cache=tmp_path)
    off = np.abs(np.array(stood) - split.query_xyz_m[:, :2])
    assert off.max() <= 0.3 * 80 and off.max() > 12
    assert max(above_ground_m(world, *place) for place in stood) <= 0.4


def test_worlds_do_not_touch(world_cache):
    split = world_split([1000, 2000], small(), cache=world_cache)
    assert np.linalg.norm(split.query_xyz_m[0] - split.query_xyz_m[12]) > 1e5
    assert split.query.name(13).endswith("query#1") and len(np.unique(split.query_id)) == 24
    rng = np.random.default_rng(0)
    assert np.array_equal(split.query.read(13, rng), world_split([2000], small(), cache=world_cache).query.read(1, rng))


def test_what_is_rendered_is_read_the_second_time(world_cache, monkeypatch):
    rng = np.random.default_rng(0)
    first = world_split([1000], small(), cache=world_cache)

    def never(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr(module, "_query", never)
    again = world_split([1000], small(), cache=world_cache)
    assert np.array_equal(first.query.read(5, rng), again.query.read(5, rng))


def test_a_cut_render_is_made_again(world_cache, monkeypatch):
    config = small(places=5)
    real, calls = module._query, []

    def cut(*arguments):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "_query", cut)
    with pytest.raises(KeyboardInterrupt):
        world_split([1000], config, cache=world_cache)
    monkeypatch.setattr(module, "_query", real)
    folder = module._rendered(1000, config, world_cache)
    left = folder.with_name(folder.name + ".killed.part")  # as kill -9 leaves it
    folder.rename(left)
    (left / "query.npy").write_bytes(b"half")
    split = world_split([1000], config, cache=world_cache)
    assert len(split.query) == 5 and split.query.read(4, np.random.default_rng(0)).shape == (16, 64, 3)


TOGETHER = """
import sys, hashlib, numpy as np
from pathlib import Path
from pilotage_trainer.data.world_split import PlacesConfig, world_split
sys.stdin.readline()
config = PlacesConfig(places=6, world_size_m=300.0, tile_px=32, query_height_px=16, query_width_px=64)
split = world_split([1001], config, cache=Path(sys.argv[1]))
rng = np.random.default_rng(0)
print(hashlib.sha256(b"".join(split.query.read(i, rng).tobytes() for i in range(6))).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_may_render_one_world_at_once(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert said[0][0] == said[1][0] and len(said[0][0]) == 65
    assert not list(tmp_path.glob("*.part"))


def test_a_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    from pilotage_trainer.data.worlds import whole_folder

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.rename", full)
    with pytest.raises(OSError, match="No space left"), whole_folder(tmp_path / "x") as part:
        (part / "a").write_text("a")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"view": "side"}, "known are ground and nadir"),
        ({"tile_m": 280.0}, "do not fit a world of 300 m"),
        ({"places": 0}, "0 places"),
    ],
)
def test_places_that_make_no_sense_are_refused(changes, says):
    with pytest.raises(ModelError, match=says):
        small(**changes)


def test_more_places_than_there_is_room_are_refused(world_cache):
    with pytest.raises(ModelError, match=r"world 1000: only \d+ of 60 places found 60 m apart"):
        world_split([1000], small(places=60, apart_m=60.0), cache=world_cache)
