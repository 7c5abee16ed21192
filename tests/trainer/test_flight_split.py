"""Recorded flights as a split: frames that lie on their tiles, reasons for those left out, no ground in both parts."""

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.errors import FlightError, MapError, ModelError
from pilotage.flight import FlightFolder, write_flight
from pilotage.picture import write_picture
from pilotage.rectify import RectifyConfig, rectify
from pilotage.world import FlightPlan, SensorNoise, WorldConfig, make_world, simulate
from pilotage_trainer.data.flight_split import flight_split
from pilotage_trainer.data.map_views import MapTiles

CAMERA = Camera.from_hfov(240, 180, hfov_deg=84)
EXACT = SensorNoise(0, 0, 0, 0, 0, 0)
SIZES = {"ground_m": 60.0, "side_px": 64}


@pytest.fixture(scope="module")
def world():
    """A world whose map was made today, so that a frame differs from it by perspective only."""
    made = make_world(41, WorldConfig(size_m=600.0, gsd_m=1.0))
    return dataclasses.replace(made, map_rgb=made.scene_rgb)


def fly(world, seed, *, noise=EXACT):
    plan = FlightPlan(
        waypoints_m=((-180.0, -180.0), (180.0, -180.0), (180.0, 180.0), (-180.0, 180.0)),
        heights_m=(75.0, 80.0, 75.0, 70.0),
        speed_m_s=9.0,  # slow enough to turn within the world
        rate_hz=0.5,
        duration_s=96.0,
        noise=noise,
    )
    return list(simulate(world, plan, CAMERA, seed=seed))


@pytest.fixture(scope="module")
def frames(world):
    return fly(world, 1)


@pytest.fixture(scope="module")
def recorded(world, frames, tmp_path_factory):
    """Return (map, flight folder)."""
    folder = tmp_path_factory.mktemp("recorded")
    write_picture(folder / "map.png", world.map_rgb)
    (folder / "corners.json").write_text(json.dumps(world.corners()))
    write_flight(folder / "flight", CAMERA, frames)
    return folder / "map.png", folder / "flight"


def both(flights, map_path, **options):
    return [
        flight_split(flights, map_path, **{**SIZES, "seed": 0, "part": part, **options}) for part in ("train", "val")
    ]


def read_all(images):
    return [images.read(i, np.random.default_rng([0, i])) for i in range(len(images))]


def likeness(a, b):
    a, b = (cv2.GaussianBlur(np.ascontiguousarray(v), (0, 0), 1.5).mean(axis=2).ravel() for v in (a, b))
    return np.corrcoef(a, b)[0, 1]


def test_frames_lie_on_their_tiles_and_not_a_quarter_tile_beside(recorded):
    rng = np.random.default_rng(0)
    exact, moved = [], []
    for split, _ in both([recorded[1]], recorded[0]):
        for i in range(len(split.query)):
            query, tile = split.query.read(i, rng), split.aerial.read(i, rng)
            exact.append(likeness(query, tile))
            moved += [likeness(query[:, 16:], tile[:, :-16]), likeness(query[16:], tile[:-16])]
    assert np.median(exact) > 0.85 and np.quantile(exact, 0.1) > 0.6
    assert np.median(moved) < 0.45


def test_a_query_is_the_frame_as_the_vehicle_rectifies_it(recorded):
    split, _ = flight_split([recorded[1]], recorded[0], **SIZES, part="train", seed=0)
    recordings = [frame for frame, _ in FlightFolder(recorded[1]).frames()]
    for i in range(0, len(split.query), 9):
        frame = recordings[int(Path(split.query.name(i)).stem)]
        patch = rectify(frame, ground_size_m=60.0, side_px=64, config=RectifyConfig())
        assert np.array_equal(split.query.read(i, np.random.default_rng()), patch.image)


def test_positions_are_where_the_camera_looks(recorded, world, frames):
    (train, _), (val, _) = both([recorded[1]], recorded[0])
    for split in (train, val):
        for i in range(0, len(split.query), 5):
            frame, truth = frames[int(Path(split.query.name(i)).stem)]
            axis = CAMERA.ned_from_camera(frame.roll_rad, frame.pitch_rad, frame.yaw_rad)[:, 2]
            expected = (
                np.array(world.frame.to_local(truth.lat_deg, truth.lon_deg)) + axis[:2] / axis[2] * frame.height_m
            )
            lat_deg, lon_deg = (float(v) for v in split.aerial.name(i).split("@")[1].split(":")[0].split(","))
            assert world.frame.to_local(lat_deg, lon_deg) == pytest.approx(expected, abs=0.05)


def test_an_offset_is_drawn_from_the_rng_and_stays_within_a_quarter_tile(recorded):
    split, _ = flight_split([recorded[1]], recorded[0], **SIZES, part="val", seed=0, offset=0.25)
    still = MapTiles(split.aerial._maps, split.aerial._places, side_px=64)  # the same places, no offset
    greys = [cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)[17:47, 17:47] for tile in read_all(still)]
    where = int(np.argmax([grey.std() for grey in greys]))
    tiles = [split.aerial.read(where, np.random.default_rng(seed)) for seed in range(12)]
    assert np.array_equal(tiles[0], split.aerial.read(where, np.random.default_rng(0)))
    shifts = []
    for tile in tiles:
        score = cv2.matchTemplate(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), greys[where], cv2.TM_CCOEFF_NORMED)
        shifts.append(np.subtract(np.unravel_index(np.argmax(score), score.shape), 17))
    assert 8 < np.abs(shifts).max() <= 16


@pytest.mark.parametrize("seed", range(4))
def test_frames_of_val_share_no_ground_with_frames_of_train(recorded, world, tmp_path_factory, seed):
    second = tmp_path_factory.mktemp("second")
    write_flight(second, CAMERA, fly(world, 2))
    (train, left_out), (val, _) = both([recorded[1], second], recorded[0], seed=seed)
    apart = np.linalg.norm(train.query_xyz_m[:, None] - val.query_xyz_m[None], axis=2)
    assert apart.min() >= 60.0
    assert not set(train.query_id) & set(val.query_id)
    assert len(train.query) + len(val.query) + sum(left_out.values()) == 96
    assert len(train.query) >= 48 and len(val.query) >= 5


def test_frames_that_cannot_be_used_are_left_out_by_reason(recorded, frames, tmp_path):
    def with_frame(index, **changes):
        frame, truth = spoiled[index]
        spoiled[index] = (dataclasses.replace(frame, **changes), truth)

    spoiled = list(frames)
    spoiled[0] = (spoiled[0][0], None)
    spoiled[7] = (spoiled[7][0], None)
    with_frame(10, image=np.full_like(frames[10][0].image, 90))
    with_frame(14, roll_rad=0.7)
    with_frame(18, height_m=900.0)
    with_frame(22, height_m=20.0)
    with_frame(26, height_m=-3.0)
    spoiled[30] = (frames[30][0], dataclasses.replace(frames[30][1], lat_deg=12.0))
    spoiled[34] = (frames[34][0], dataclasses.replace(frames[34][1], lon_deg=frames[34][1].lon_deg + 300 / 75_000))
    write_flight(tmp_path, CAMERA, spoiled)
    assert not FlightFolder(tmp_path).has_truth
    assert set(flight_split([recorded[1]], recorded[0], **SIZES, part="val", seed=0)[1]) <= {"between train and val"}
    (train, left_out), (val, again) = both([tmp_path], recorded[0])
    between = left_out.pop("between train and val")
    assert left_out == {
        "without truth": 2,
        "bad-image": 1,
        "tilt-out-of-range": 1,
        "too-high": 1,
        "too-low": 1,
        "bad-height": 1,
        "outside the map": 2,
    }
    assert again == {**left_out, "between train and val": between}
    assert len(train.query) + len(val.query) + between == 48 - 9


def digest(split):
    return hashlib.sha256(b"".join(v.tobytes() for v in read_all(split.query) + read_all(split.aerial))).hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_any_process(recorded):
    map_path, flight = recorded
    options = {**SIZES, "part": "train", "seed": 5, "offset": 0.2}
    split, _ = flight_split([flight], map_path, **options)
    assert digest(split) == digest(flight_split([flight, flight], map_path, **options)[0])
    assert digest(split) == digest(pickle.loads(pickle.dumps(split)))
    code = f"""
import hashlib, sys, numpy as np
from pathlib import Path
from pilotage_trainer.data.flight_split import flight_split
split, _ = flight_split([Path({str(flight)!r})], Path({str(map_path)!r}), **{options!r})
read = lambda images: b"".join(images.read(i, np.random.default_rng([0, i])).tobytes() for i in range(len(images)))
assert "torch" not in sys.modules
print(hashlib.sha256(read(split.query) + read(split.aerial)).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(split)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"ground_m": float("nan")}, ModelError, "ground_m is nan"),
        ({"ground_m": (40.0, 60.0)}, ModelError, "of one size"),
        ({"ground_m": 700.0}, MapError, "smaller than one tile of 700 m"),
        ({"side_px": 640}, MapError, "too coarse for 60 m in 640 px"),
        ({"offset": 0.3}, ModelError, "give 0 to 0.25 of the tile"),
        ({"offset": float("nan")}, ModelError, "offset is nan"),
        ({"part": "both"}, ModelError, "known are train and val"),
        ({"ground_m": 400.0}, FlightError, "too-low"),
    ],
)
def test_flight_split_refuses_in_one_line(recorded, options, error, says):
    with pytest.raises(error) as refused:
        flight_split([recorded[1]], recorded[0], **{**SIZES, "part": "train", "seed": 0, **options})
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_flight_split_refuses_flights_it_cannot_learn_from(recorded, frames, tmp_path):
    def split(*flights):
        return flight_split(flights, recorded[0], **SIZES, part="train", seed=0)

    with pytest.raises(FlightError, match="one flight folder or more"):
        split()
    write_flight(tmp_path / "blind", CAMERA, [(frame, None) for frame, _ in frames[:3]])
    with pytest.raises(FlightError, match=r"blind: frames.csv has no truth \(columns lat and lon\)"):
        split(recorded[1], tmp_path / "blind")
    write_flight(tmp_path / "nan", CAMERA, frames[:3])
    rows = (tmp_path / "nan" / "frames.csv").read_text().splitlines()
    cells = rows[2].split(",")
    (tmp_path / "nan" / "frames.csv").write_text(
        "\n".join([rows[0], rows[1], ",".join([*cells[:6], "nan", *cells[7:]])])
    )
    with pytest.raises(FlightError, match="line 3: lat is 'nan'"):
        split(tmp_path / "nan")
    write_flight(tmp_path / "one", CAMERA, frames[:1])
    with pytest.raises(FlightError, match="nothing is left for train"):
        split(tmp_path / "one")
    away = [(frame, dataclasses.replace(truth, lat_deg=-12.0)) for frame, truth in frames[:3]]
    write_flight(tmp_path / "away", CAMERA, away)
    with pytest.raises(FlightError, match=r"can be used .* left out: 3 outside the map"):
        split(tmp_path / "away")


def test_a_real_flight_lies_on_the_map_of_the_same_day():
    folder = os.environ.get("PILOTAGE_REAL_DATA")
    if not folder:
        pytest.skip("PILOTAGE_REAL_DATA is unset: it names the folder of real imagery")
    beach = Path(folder) / "brighton_beach"
    splits = both([beach / "flight"], beach / "map" / "map.png", ground_m=20.0, side_px=96)
    rng, found, beside = np.random.default_rng(0), [], []
    for split, left_out in splits:
        assert set(left_out) <= {"between train and val"}
        for i in range(len(split.query)):
            query, tile = split.query.read(i, rng), split.aerial.read(i, rng)
            found.append(likeness(query, tile))
            beside.append(likeness(query[:, 24:], tile[:, :-24]))
    assert len(found) >= 5
    assert min(len(split.query) for split, _ in splits) >= 2
    assert np.median(found) > 0.4
    assert np.median(beside) < 0.3
