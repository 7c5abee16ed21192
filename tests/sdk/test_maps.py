"""Maps: a mark painted at a known place is read at that place, whatever the file; bad files are one clear line."""

import json
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest

from pilotage.contract import FILL_RGB
from pilotage.errors import MapError
from pilotage.geo import LocalFrame
from pilotage.maps import open_map

LAT, LON = 47.0, 8.0
ROWS, COLUMNS, GSD_M = 300, 360, 0.5
MARK = (slice(100, 104), slice(250, 254))  # its middle is the corner of pixels at row 102, column 252


def picture():
    pixels = np.full((ROWS, COLUMNS, 3), (90, 60, 30), np.uint8)
    pixels[MARK] = (250, 230, 210)
    return pixels


def corners():
    frame = LocalFrame(LAT, LON)
    north, east = frame.to_wgs84(ROWS * GSD_M / 2, COLUMNS * GSD_M / 2)
    south, west = frame.to_wgs84(-ROWS * GSD_M / 2, -COLUMNS * GSD_M / 2)
    return {"north": north, "west": west, "south": south, "east": east}


def write_png(folder, pixels, *, corners_name="map.corners.json"):
    channels = [2, 1, 0, 3][: pixels.shape[2]] if pixels.ndim == 3 else None
    cv2.imwrite(str(folder / "map.png"), pixels if channels is None else np.ascontiguousarray(pixels[..., channels]))
    (folder / corners_name).write_text(json.dumps(corners()))
    return folder / "map.png"


def mark_of(source, gsd_m):
    """Return where the mark is, metres north and east of LAT, LON, as a window at this pixel reads it."""
    rows, columns = round(120 / gsd_m), round(170 / gsd_m)
    window, valid = source.read(
        LocalFrame(LAT, LON), top_north_m=60.0, left_east_m=-85.0, rows=rows, columns=columns, gsd_m=gsd_m
    )
    assert valid.all()
    weight = window[..., 0].astype(float) - np.median(window[..., 0])
    weight[np.abs(weight) < 8] = 0
    row, column = (np.sum(np.indices(weight.shape) * weight, axis=(1, 2)) / weight.sum()) + 0.5
    return 60.0 - row * gsd_m, -85.0 + column * gsd_m


@pytest.mark.parametrize("gsd_m", [0.2, 0.5, 0.7, 1.7, 3.0])
def test_picture_is_read_where_its_corners_say_at_any_pixel_size(tmp_path, gsd_m):
    north_m, east_m = mark_of(open_map(write_png(tmp_path, picture())), gsd_m)
    assert north_m == pytest.approx((ROWS / 2 - 102) * GSD_M, abs=max(0.2, gsd_m / 3))
    assert east_m == pytest.approx((252 - COLUMNS / 2) * GSD_M, abs=max(0.2, gsd_m / 3))


@pytest.mark.parametrize("name", ["map.corners.json", "corners.json"])
def test_picture_finds_its_corners_beside_it(tmp_path, name):
    assert open_map(write_png(tmp_path, picture(), corners_name=name)).gsd_m == pytest.approx(GSD_M, rel=1e-4)


def test_picture_averages_what_it_makes_smaller(tmp_path):
    chequers = (np.indices((ROWS, COLUMNS)).sum(axis=0) % 2 * 200).astype(np.uint8)
    source = open_map(write_png(tmp_path, np.dstack([chequers] * 3)))
    window, valid = source.read(
        LocalFrame(LAT, LON), top_north_m=40.0, left_east_m=-40.0, rows=20, columns=20, gsd_m=4.0
    )
    assert valid.all()
    assert np.abs(window.astype(int) - 100).max() <= 4


@pytest.mark.parametrize("kind", ["grey", "alpha", "16-bit"])
def test_picture_may_be_grey_or_have_alpha_or_16_bits(tmp_path, kind):
    pixels = picture()
    if kind == "grey":
        pixels = pixels[..., 0]
    elif kind == "alpha":
        alpha = np.full((ROWS, COLUMNS, 1), 255, np.uint8)
        alpha[:20] = 0
        pixels = np.concatenate([pixels, alpha], axis=2)
    else:
        pixels = pixels.astype(np.uint16) * 257
    source = open_map(write_png(tmp_path, pixels))
    assert mark_of(source, 0.5)[0] == pytest.approx((ROWS / 2 - 102) * GSD_M, abs=0.2)
    window, valid = source.read(
        LocalFrame(LAT, LON), top_north_m=75.0, left_east_m=-80.0, rows=60, columns=300, gsd_m=0.5
    )
    assert valid[21:].all()
    assert valid[:19].any() == (kind != "alpha")
    assert np.all(window[~valid] == FILL_RGB)


def test_picture_beyond_its_edges_is_filled_and_not_valid(tmp_path):
    source = open_map(write_png(tmp_path, picture()))
    frame = LocalFrame(LAT, LON)
    window, valid = source.read(frame, top_north_m=85.0, left_east_m=-100.0, rows=40, columns=80, gsd_m=0.5)
    assert not valid[:19].any()
    assert not valid[:, :19].any()
    assert valid[21:, 21:].all()
    assert np.all(window[~valid] == FILL_RGB)
    assert not source.read(frame, top_north_m=9e4, left_east_m=0.0, rows=4, columns=4, gsd_m=0.5)[1].any()


def huge_png(side):
    """Return a PNG of a few bytes that promises side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_picture_refuses_one_that_would_fill_the_memory(tmp_path):
    path = write_png(tmp_path, picture())
    path.write_bytes(huge_png(60_000))
    with pytest.raises(MapError, match=r"map\.png: OpenCV cannot take this picture"):
        open_map(path)


@pytest.mark.parametrize(
    "text", ['{"north": 1' + "0" * 400 + ', "west":1, "south":1, "east":1}', "[1]", "{", "[" * 10**5]
)
def test_picture_refuses_corners_that_are_not_numbers(tmp_path, text):
    path = write_png(tmp_path, picture())
    (tmp_path / "map.corners.json").write_text(text)
    with pytest.raises(MapError, match=r"corners\.json: cannot be read as corners") as caught:
        open_map(path)
    assert "\n" not in str(caught.value)


# GeoTIFF ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rasterio():
    return pytest.importorskip("rasterio", reason="the extra [maps] is not installed")


def write_tif(folder, bands, *, crs="EPSG:32632", turn_deg=0.0, **options):
    """Write a GeoTIFF whose middle is at LAT, LON and whose pixel is GSD_M."""
    import rasterio
    from rasterio.transform import Affine
    from rasterio.warp import transform

    count, rows, columns = bands.shape
    (x,), (y,) = transform("EPSG:4326", crs, [LON], [LAT]) if crs else ([0.0], [0.0])
    grid = Affine.translation(x, y) * Affine.rotation(turn_deg) * Affine.scale(GSD_M, -GSD_M)
    grid *= Affine.translation(-columns / 2, -rows / 2)
    shape = {"width": columns, "height": rows, "count": count, "dtype": bands.dtype}
    with rasterio.open(folder / "map.tif", "w", driver="GTiff", crs=crs, transform=grid, **shape, **options) as out:
        out.write(bands)
    return folder / "map.tif", grid


def bands_of(pixels):
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


@pytest.mark.parametrize(("turn_deg", "gsd_m"), [(0.0, 0.5), (0.0, 1.7), (25.0, 0.4)])
def test_geotiff_is_read_where_an_independent_projection_says(rasterio, tmp_path, turn_deg, gsd_m):
    from rasterio.warp import transform

    big = np.full((600, 640, 3), (90, 60, 30), np.uint8)
    big[260:264, 360:364] = (250, 230, 210)
    path, grid = write_tif(tmp_path, bands_of(big), turn_deg=turn_deg)
    x, y = grid * (362, 262)
    (lon,), (lat,) = transform("EPSG:32632", "EPSG:4326", [x], [y])
    expected = LocalFrame(LAT, LON).to_local(lat, lon)
    source = open_map(path)
    assert source.gsd_m == pytest.approx(GSD_M, rel=0.01)
    assert mark_of(source, gsd_m) == (pytest.approx(expected[0], abs=0.25), pytest.approx(expected[1], abs=0.25))
    assert source.bounds.south < lat < source.bounds.north
    source.close()


@pytest.mark.parametrize("kind", ["uint16", "float 0..1", "float with nan", "grey", "4 bands", "alpha", "nodata"])
def test_geotiff_of_any_kind_shows_its_mark_and_its_holes(rasterio, tmp_path, kind):
    bands, options = bands_of(picture()), {}
    if kind == "uint16":
        bands = bands.astype(np.uint16) * 40
    elif kind.startswith("float"):
        bands = bands.astype(np.float32) / 255
        bands[:, 220:] = np.nan if "nan" in kind else bands[:, 220:]
    elif kind == "grey":
        bands = bands[:1]
    elif kind == "4 bands":
        bands = np.concatenate([bands, bands[:1] // 2])  # near infrared, not alpha
    elif kind == "alpha":
        alpha = np.full((1, ROWS, COLUMNS), 255, np.uint8)
        alpha[:, 220:] = 0
        bands, options = np.concatenate([bands, alpha]), {"photometric": "rgb", "alpha": "yes"}
    elif kind == "nodata":
        bands[:, 220:], options = 0, {"nodata": 0}
    # A near-infrared band left undefined is what NAIP looks like; GDAL would otherwise call a fourth band alpha.
    if kind == "4 bands":
        options = {"photometric": "rgb", "alpha": "no"}
    path, _ = write_tif(tmp_path, bands, **options)
    source = open_map(path)
    frame = LocalFrame(LAT, LON)
    window, valid = source.read(frame, top_north_m=70.0, left_east_m=-70.0, rows=280, columns=280, gsd_m=0.5)
    source.close()
    holed = kind in ("float with nan", "alpha", "nodata")
    bright = valid & (window[..., 0].astype(int) - np.median(window[valid][:, 0]) > 60)
    assert np.argwhere(bright).mean(axis=0) == pytest.approx([91.5, 211.5], abs=1.5)
    assert bright.sum() == pytest.approx(16, abs=9)
    assert valid[:200].all()
    assert valid[220:].any() != holed
    assert np.all(window[~valid] == FILL_RGB)


def test_geotiff_without_a_place_or_with_a_colour_table_is_refused(rasterio, tmp_path):
    bands = bands_of(picture())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        path, _ = write_tif(tmp_path, bands, crs=None)
    with pytest.raises(MapError, match=r"map\.tif: has no coordinate system"):
        open_map(path)
    path, _ = write_tif(tmp_path, bands[:1], photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {value: (value, 255 - value, 0, 255) for value in range(256)})
    with pytest.raises(MapError, match=r"map\.tif: has a colour table"):
        open_map(path)
    path, _ = write_tif(tmp_path, bands)
    with rasterio.open(path, "r+") as file:
        file.crs = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(MapError, match=r"map\.tif: its coordinate system has no place") as caught:
        open_map(path)
    assert "\n" not in str(caught.value)


def test_geotiff_that_was_cut_is_refused_where_it_is_read(rasterio, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3, ROWS, COLUMNS), dtype=np.uint8)
    path, _ = write_tif(tmp_path, noise)
    path.write_bytes(path.read_bytes()[: noise.size // 2])
    with pytest.raises(MapError, match=r"map\.tif: (its pixels cannot be read|not a GeoTIFF)"):
        open_map(path).read(LocalFrame(LAT, LON), top_north_m=70.0, left_east_m=-70.0, rows=280, columns=280, gsd_m=0.5)


def test_geotiff_without_any_data_is_refused(rasterio, tmp_path):
    path, _ = write_tif(tmp_path, np.zeros((1, 4, 2500), np.uint16), nodata=0)
    with pytest.raises(MapError, match=r"map\.tif: holds no data at all"):
        open_map(path)


def test_real_maps_open_at_their_own_pixel(real_data):
    for name in ("brighton_beach", "caliterra"):
        source = open_map(real_data / name / "map" / "map.png")
        bounds = source.bounds
        frame = bounds.frame()
        north_m, east_m = frame.to_local(bounds.north, bounds.east)
        shape = {"rows": int(2 * north_m / source.gsd_m), "columns": int(2 * east_m / source.gsd_m)}
        window, valid = source.read(frame, top_north_m=north_m, left_east_m=-east_m, gsd_m=source.gsd_m, **shape)
        assert valid.mean() > 0.3
        assert window[valid].std() > 10
