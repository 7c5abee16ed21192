"""Recall: what it counts, on encoders whose answer is known."""

import numpy as np
import pytest

from pilotage.errors import MapError
from pilotage_trainer import dense
from pilotage_trainer.dense import Protocol, recall
from pilotage_trainer.years import Year, YearProtocol, against, read_years, year_against_year


class Chart:
    """A place that writes where it is looked at into its pixels, to 1/8 m; the camera's offset moves it."""

    extent_m = 600.0

    def view_map(self, north_m, east_m, *, ground_m, side_px):
        image = np.zeros((side_px, side_px, 3), np.uint8)
        for column, value in enumerate((north_m, east_m)):
            coded = round((value + 1000) * 8)
            image[0, column, :2] = coded // 256, coded % 256
        return image

    def view_camera(self, north_m, east_m, *, ground_m, side_px, rng, error, offset):
        north_m, east_m = np.array([north_m, east_m]) + rng.uniform(-1, 1, 2) * offset * ground_m
        return self.view_map(north_m, east_m, ground_m=ground_m, side_px=side_px)


def position(images):
    coded = images[:, 0, :2, 0].astype(float) * 256 + images[:, 0, :2, 1]
    return coded / 8 - 1000


def perfect(images):
    """Unit vectors whose cosine falls with distance."""
    places = position(images) / 2000
    return np.concatenate([places, np.sqrt(1 - (places**2).sum(axis=1, keepdims=True))], axis=1).astype(np.float64)


@pytest.fixture
def unspoilt(monkeypatch):
    monkeypatch.setattr(dense, "photometric", lambda view, rng, strength: view)
    monkeypatch.setattr(dense, "mask_out", lambda view, mask: view)


def test_a_perfect_encoder_reaches_one(unspoilt):
    result = recall(perfect, Chart(), Protocol(queries=300))
    assert result["recall_at_1_15m"] == result["recall_at_5_15m"] == result["recall_at_1_half_tile"] == 1.0
    assert result["gallery"] == 25 * 25


def test_an_encoder_that_is_blind_reaches_chance(unspoilt):
    rng = np.random.default_rng(0)
    result = recall(lambda images: rng.standard_normal((len(images), 8)), Chart(), Protocol(queries=300))
    assert result["recall_at_1_15m"] < 0.02 and result["recall_at_1_half_tile"] < 0.1


def test_an_encoder_that_is_20_m_off_is_right_within_half_a_tile_only(unspoilt):
    shift = np.array([1.0, 0, 0]) * 20 / 2000

    def describe(images):
        moved = perfect(images) + (shift if len(images) == 300 else 0)
        return moved

    result = recall(describe, Chart(), Protocol(queries=300))
    assert result["recall_at_1_15m"] < 0.4 and result["recall_at_1_half_tile"] == 1.0


def chart_year(name, *, west_m, north_m):
    """A ramp: red tells the column on the ground, green the row."""
    rows, columns = np.mgrid[:200, :220]
    east, north = west_m + 5 * columns, north_m - 5 * rows
    image = np.stack([(east - 900) / 10, (north - 900) / 10, np.zeros_like(east)], axis=-1)
    return Year(name, image.astype(np.uint8), west_m, north_m, 5.0)


def by_mean_colour(images):
    places = images[..., :2].reshape(len(images), -1, 2).mean(axis=1) / 1000
    return np.concatenate([places, np.sqrt(1 - (places**2).sum(axis=1, keepdims=True))], axis=1)


def test_years_are_compared_on_the_ground_not_by_pixel():
    old, new = chart_year("old", west_m=1000.0, north_m=2000.0), chart_year("new", west_m=1100.0, north_m=1950.0)
    result = against(by_mean_colour, new, old, protocol=YearProtocol(pitch=0.1, queries=50))
    assert result["recall_at_1_half_tile"] == 1.0 and result["recall_at_1_nearest"] > 0.85


def test_years_that_share_no_ground_are_refused():
    old, new = chart_year("old", west_m=1000.0, north_m=2000.0), chart_year("new", west_m=1800.0, north_m=2000.0)
    with pytest.raises(MapError, match="share too little ground"):
        against(by_mean_colour, new, old, protocol=YearProtocol())


def write_year(path, image, *, west_m):
    rasterio = pytest.importorskip("rasterio")

    grid = rasterio.Affine(5.0, 0.0, west_m, 0.0, -5.0, 5_209_000.0)
    shape = {"height": image.shape[0], "width": image.shape[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:26914", transform=grid, **shape) as file:
        file.write(np.moveaxis(image, -1, 0))


def test_every_year_is_held_against_the_one_before_and_the_newest_against_the_oldest(tmp_path):
    image = chart_year("x", west_m=1000.0, north_m=2000.0).image
    for year in (2009, 2010, 2012):
        write_year(tmp_path / f"m_{year}0101.tif", image, west_m=485_900.0)
    assert [year.name for year in read_years(tmp_path)] == ["m_20090101", "m_20100101", "m_20120101"]
    results = year_against_year(by_mean_colour, tmp_path, protocol=YearProtocol(pitch=0.1, queries=20))
    assert [r["set"][:31] for r in results] == [
        "20100101 in the map of 20090101",
        "20120101 in the map of 20100101",
        "20120101 in the map of 20090101",
    ]


def test_a_folder_without_two_years_is_refused(tmp_path):
    with pytest.raises(MapError, match="takes two years or more"):
        read_years(tmp_path)
