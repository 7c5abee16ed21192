"""The look-alikes are laid out as the real sets are, and their pairs show the same place the same way round."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from pilotage.errors import ModelError
from pilotage_trainer.data.public import SETS, check, open_split
from pilotage_trainer.data.public.lookalike import WRITERS, write_cvact, write_cvusa, write_university, write_vigor
from pilotage_trainer.data.split import earth_xyz_m
from pilotage_trainer.data.views import polar

EARTH_M = 6_371_004.0
COLUMNS = 16


def written(write, folder, seed=0, **options):
    write(folder, rng=np.random.default_rng(seed), **options)
    return folder


def pictures(images):
    return [images.read(i, np.random.default_rng(0)) for i in range(len(images))]


def chroma(image):
    """What is coloured, by direction: (COLUMNS, 3), grass and sky left out."""
    colour = image.astype(float) - image.mean(axis=2, keepdims=True)
    colour[np.abs(colour).max(axis=2) < 25] = 0
    return colour.reshape(len(image), COLUMNS, -1, 3).mean(axis=(0, 2))


def around(tile):
    """The same of a square, in the directions that a panorama's columns look."""
    return chroma(polar(np.ascontiguousarray(tile), 32, 128)[8:])


def hues(image):
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return np.sqrt(np.histogram(hsv[..., 0][hsv[..., 1] > 90], 36, (0, 180))[0])


def recall_at_1(split, query, aerial):
    query, aerial = (np.array(rows).reshape(len(rows), -1) for rows in (query, aerial))
    query, aerial = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9) for rows in (query, aerial))
    return np.mean(split.aerial_id[np.argmax(query @ aerial.T, axis=1)] == split.query_id)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_look_alike_is_whole_and_the_same_for_the_same_seed(kind, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        WRITERS[kind](folder, pairs=6, rng=np.random.default_rng(3))
    findings = check(kind, first, decode=True)
    assert findings.ok and not findings.notes, findings.lines()
    for part in SETS[kind].PARTS:
        split, again = (open_split(kind, folder, part)[0] for folder in (first, second))
        assert split.query_id.tolist() == again.query_id.tolist()
        assert np.array_equal(pictures(split.aerial)[0], pictures(again.aerial)[0])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_look_alike_of_too_few_pairs_is_refused(kind, tmp_path):
    with pytest.raises(ModelError, match="a look-alike of 1 pairs: give 4 or more"):
        WRITERS[kind](tmp_path, pairs=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("write", [write_cvusa, write_cvact])
def test_pairs_are_found_by_colour_and_direction_and_lost_when_turned(write, tmp_path):
    kind = write.__name__.removeprefix("write_")
    split, _ = open_split(kind, written(write, tmp_path), "train")
    query, aerial = [chroma(p) for p in pictures(split.query)], [around(p) for p in pictures(split.aerial)]
    assert recall_at_1(split, query, aerial) > 0.8
    assert recall_at_1(split, [np.roll(q, COLUMNS // 4, axis=0) for q in query], aerial) < 0.3


def test_drones_find_their_building_by_its_colours(tmp_path):
    split, _ = open_split("university", written(write_university, tmp_path), "train")
    sides = [[hues(picture) for picture in pictures(side)] for side in (split.query, split.aerial)]
    assert recall_at_1(split, *sides) > 0.9


def test_cvusa_places_are_those_of_the_row_that_the_id_names(tmp_path):
    split, _ = open_split("cvusa", written(write_cvusa, tmp_path, pairs=6), "val")
    rows = (tmp_path / "split_locations/all.csv").read_text().splitlines()
    for i, number in enumerate(split.query_id):
        numbers = [np.array([float(v)]) for v in rows[number - 1].split(",")]
        assert np.allclose(split.aerial_xyz_m[i], earth_xyz_m(*numbers[:2])[0])
        assert np.allclose(split.query_xyz_m[i], earth_xyz_m(*numbers[2:4])[0])


def great_circle_m(lat0, lon0, lat1, lon1):
    """The haversine formula, in radians inside: slow and independent of `earth_xyz_m`."""
    lat0, lon0, lat1, lon1 = (np.radians(v) for v in (lat0, lon0, lat1, lon1))
    a = np.sin((lat1 - lat0) / 2) ** 2 + np.cos(lat0) * np.cos(lat1) * np.sin((lon1 - lon0) / 2) ** 2
    return 2 * EARTH_M * np.arcsin(np.sqrt(a))


def latlon_deg(xyz_m):
    return np.degrees(np.arcsin(xyz_m[2] / EARTH_M)), np.degrees(np.arctan2(xyz_m[1], xyz_m[0]))


@pytest.mark.parametrize("part", ["same-train", "cross-train", "cross-test"])
def test_vigor_queries_stand_where_their_panoramas_were_taken(tmp_path, part):
    split, _ = open_split("vigor", written(write_vigor, tmp_path, pairs=9), part)
    for q in range(len(split.query)):
        taken_deg = [float(v) for v in split.query.name(q).split(",")[1:3]]
        assert great_circle_m(*taken_deg, *latlon_deg(split.query_xyz_m[q])) < 0.15  # names have 6 decimals
        tile_deg = latlon_deg(split.aerial_xyz_m[split.query_id[q]])
        assert great_circle_m(*taken_deg, *tile_deg) < 0.5 * np.hypot(36.48, 36.48) + 0.15
        assert all(great_circle_m(*taken_deg, *latlon_deg(split.aerial_xyz_m[i])) < 52 for i in split.semi_id[q])


def test_vigor_longitudes_are_those_of_the_tile_s_latitude(tmp_path):
    split, _ = open_split("vigor", written(write_vigor, tmp_path, pairs=9), "cross-train")
    lines = [
        line.split()
        for city in ("NewYork", "Seattle")
        for line in (tmp_path / f"splits/{city}/pano_label_balanced.txt").read_text().splitlines()
    ]
    for q, line in enumerate(lines):
        lat, lon = (float(v) for v in line[1].removesuffix(".png").split("_")[1:])
        query_lat, query_lon = latlon_deg(split.query_xyz_m[q])
        south_m, west_m = great_circle_m(lat, lon, query_lat, lon), great_circle_m(lat, lon, lat, query_lon)
        assert south_m == pytest.approx(0.114 * abs(float(line[2])), abs=0.002)
        assert west_m == pytest.approx(0.114 * abs(float(line[3])), abs=0.002)
        assert (query_lat < lat, query_lon < lon) == (float(line[2]) > 0, float(line[3]) > 0)


def test_vigor_queries_see_what_lies_about_their_place_in_the_tile(tmp_path):
    split, _ = open_split("vigor", written(write_vigor, tmp_path, pairs=24), "same-train")
    tiles, scale = pictures(split.aerial), 64 / 640

    def about(q, line, signs):
        column, row = (round(scale * (320 + sign * float(d))) for sign, d in zip(signs, line[3:1:-1], strict=True))
        padded = np.pad(tiles[split.query_id[q]], ((32, 32), (32, 32), (0, 0)), mode="edge")
        return around(padded[row : row + 64, column : column + 64])

    cities = ("Chicago", "NewYork", "SanFrancisco", "Seattle")
    files = [(tmp_path / f"splits/{city}/same_area_balanced_train.txt").read_text().splitlines() for city in cities]
    lines = [line.split() for of_city in files for line in of_city]
    query = [chroma(picture) for picture in pictures(split.query)]
    alike = {
        signs: np.mean([np.sum(v * about(q, lines[q], signs)) / 1e3 for q, v in enumerate(query)])
        for signs in ((-1, 1), (1, 1), (-1, -1), (1, -1))  # column 320 - d1, row 320 + d0; then the wrong ones
    }
    assert alike[-1, 1] > 1.3 * max(value for signs, value in alike.items() if signs != (-1, 1)), alike


@pytest.mark.parametrize("tree", ["official", "sample4geo"])
def test_vigor_trees_hold_the_same(tmp_path, tree):
    split, _ = open_split("vigor", written(write_vigor, tmp_path, pairs=6, tree=tree), "cross-test")
    where = "SanFrancisco/panorama" if tree == "official" else "ground/SanFrancisco"
    assert split.query.name(0).startswith(str(tmp_path / where))
    assert (len(split.query), len(split.aerial)) == (12, 2 * 25)
    assert len(np.unique(split.query_id)) == 12 and split.semi_id.shape == (12, 3)
    with pytest.raises(ModelError, match="tree 'flat'; known are official and sample4geo"):
        write_vigor(tmp_path, rng=np.random.default_rng(0), tree="flat")


def test_cvact_has_places_that_must_not_be_negatives_of_one_another(tmp_path):
    split, _ = open_split("cvact", written(write_cvact, tmp_path), "train")
    apart_m = np.linalg.norm(split.query_xyz_m[:, None] - split.query_xyz_m[None], axis=-1)
    assert np.sum(apart_m[np.triu_indices(len(apart_m), 1)] < split.apart_m) > 0


def test_nothing_of_the_public_sets_brings_torch():
    code = (
        "import sys, pilotage_trainer.data.public.lookalike; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
