import io
import json
import zipfile

import numpy as np
import pytest

from pilotage.contract import FILL_RGB
from pilotage.errors import MapError, PackError
from pilotage.maps import open_map
from pilotage.pack import BuildConfig, RegionPack, build_pack
from pilotage.pack import build as build_module
from pilotage.picture import write_picture
from pilotage.search import Searcher
from pilotage.testing import FAKE_CONTRACT, FakeEngine

CONFIG = BuildConfig(tile_m=64.0, stride_m=20.0)  # 0.5 m/px


def picture(rows=700, columns=640, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (rows // 20 + 1, columns // 20 + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))[:rows, :columns]


def write_map(folder, pixels, *, gsd_m=0.5, lat=47.0, lon=8.0):
    """Write a map whose pixel is `gsd_m` at its middle."""
    from pilotage.geo import LocalFrame

    rows, columns = pixels.shape[:2]
    frame = LocalFrame(lat, lon)
    north, east = frame.to_wgs84(rows * gsd_m / 2, columns * gsd_m / 2)
    south, west = frame.to_wgs84(-rows * gsd_m / 2, -columns * gsd_m / 2)
    write_picture(folder / "map.png", pixels)
    (folder / "corners.json").write_text(json.dumps({"north": north, "west": west, "south": south, "east": east}))
    return folder / "map.png"


def build(folder, pixels, name="a.region", *, config=CONFIG, **options):
    source = open_map(write_map(folder, pixels))
    build_pack(source, folder / name, engine=FakeEngine(), model=b"fake", name="fake", config=config, **options)
    return folder / name


@pytest.fixture(scope="module")
def pack_file(tmp_path_factory):
    return build(tmp_path_factory.mktemp("pack"), picture())


def test_pack_is_the_same_from_the_same_inputs(tmp_path, pack_file):
    assert build(tmp_path, picture()).read_bytes() == pack_file.read_bytes()


def test_pack_is_a_zip_of_stored_aligned_members_with_the_manifest_first(pack_file):
    with zipfile.ZipFile(pack_file) as archive:
        infos = archive.infolist()
        assert archive.testzip() is None
    assert [info.filename for info in infos[:2]] == ["manifest.json", "signatures.json"]
    data = pack_file.read_bytes()
    for info in infos:
        assert info.compress_type == zipfile.ZIP_STORED
        name_length, extra_length = np.frombuffer(data, "<u2", 2, info.header_offset + 26)
        assert (info.header_offset + 30 + int(name_length) + int(extra_length)) % 64 == 0


def test_pack_maps_its_descriptors_and_does_not_copy_them(pack_file):
    with RegionPack.open(pack_file) as pack:
        assert pack.descriptors.dtype == np.float16
        assert not pack.descriptors.flags.owndata
        assert not pack.descriptors.flags.writeable
        lengths = np.linalg.norm(pack.descriptors.astype(np.float32), axis=1)
        assert lengths == pytest.approx(1, abs=1e-3)


def test_pack_tiles_reach_every_border_and_know_where_they_are(pack_file):
    with RegionPack.open(pack_file) as pack:
        side = pack.manifest.contract.width
        tops = {pack.tile_window(i)[0] for i in range(len(pack))}
        lefts = {pack.tile_window(i)[1] for i in range(len(pack))}
        assert (min(tops), max(tops)) == (0, pack.manifest.map_rows - side)
        assert (min(lefts), max(lefts)) == (0, pack.manifest.map_columns - side)
        for index in (0, len(pack) // 2, len(pack) - 1):
            row, column = pack.tile_window(index)
            north_m, east_m = pack.place_of(row + (side - 1) / 2, column + (side - 1) / 2)
            assert tuple(pack.tile_centres_m[index]) == (pytest.approx(north_m), pytest.approx(east_m))


def test_pack_pixels_are_the_maps_at_the_same_place(tmp_path):
    pixels = np.full((700, 640, 3), 60, np.uint8)
    pixels[300:304, 200:204] = (250, 240, 230)  # its middle lies 351.5-302 rows... of 0.5 m north of the map's middle
    with RegionPack.open(build(tmp_path, pixels)) as pack:
        row, column = pack.pixel_of((350 - 302) * 0.5, (202 - 320) * 0.5)
        window, valid = pack.map_window(round(row) - 20, round(column) - 20, 41, 41)
        bright = np.argwhere(window[..., 0] > 160)
        assert valid.all()
        assert bright.mean(axis=0) == pytest.approx([20, 20], abs=1.0)
        assert pack.place_of(*pack.pixel_of(12.3, -45.6)) == (pytest.approx(12.3), pytest.approx(-45.6))


def test_pack_window_beyond_the_map_is_filled_and_not_valid(pack_file):
    with RegionPack.open(pack_file) as pack:
        window, valid = pack.map_window(-30, pack.manifest.map_columns - 10, 50, 40)
        assert not valid[:30].any()
        assert not valid[:, 10:].any()
        assert valid[30:, :10].all()
        assert np.all(window[~valid] == FILL_RGB)
        assert not pack.map_window(10**7, -(10**7), 8, 8)[1].any()


def test_pack_leaves_out_tiles_without_map(tmp_path):
    import cv2

    pixels = picture()
    path = write_map(tmp_path, pixels)
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :320] = 0
    cv2.imwrite(str(path), np.dstack([pixels[..., ::-1], alpha]))
    build_pack(open_map(path), tmp_path / "b.region", engine=FakeEngine(), model=b"fake", name="b", config=CONFIG)
    with RegionPack.open(tmp_path / "b.region") as pack:
        assert pack.tile_centres_m[:, 1].min() > -20
        _, valid = pack.map_window(0, 0, 600, 600)
        assert not valid[:, :310].any()
        assert valid[:, 330:].all()


def test_pack_self_test_passes_with_its_encoder_and_not_with_another(pack_file):
    class Other(FakeEngine):
        def run(self, images):
            return np.roll(super().run(images), 1, axis=1)

    with RegionPack.open(pack_file) as pack:
        assert pack.self_test(FakeEngine()) > 0.99
        with pytest.raises(PackError, match="self-test failed"):
            pack.self_test(Other())


def member_spans(path):
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            name_length, extra_length = np.frombuffer(data, "<u2", 2, info.header_offset + 26)
            yield info.filename, info.header_offset + 30 + int(name_length) + int(extra_length), info.file_size


def test_pack_notices_a_flipped_bit_in_every_member(pack_file, tmp_path):
    whole = pack_file.read_bytes()
    bad = tmp_path / "bad.region"
    for name, start, size in member_spans(pack_file):
        if name == "signatures.json":
            continue  # it signs the manifest; signing comes with its own verification
        for offset in {start, start + size // 2, start + size - 1}:
            data = bytearray(whole)
            data[offset] ^= 0x10
            bad.write_bytes(data)
            with pytest.raises(PackError, match=r"bad\.region") as caught:
                RegionPack.open(bad)
            assert "\n" not in str(caught.value)


def test_pack_notices_being_cut_anywhere(pack_file, tmp_path):
    whole = pack_file.read_bytes()
    bad = tmp_path / "bad.region"
    for length in [0, 1, 3, 21, 22, 100, 4096, *range(5000, len(whole), len(whole) // 23), len(whole) - 1]:
        bad.write_bytes(whole[:length])
        with pytest.raises(PackError, match=r"bad\.region"):
            RegionPack.open(bad)


def test_pack_survives_random_damage_without_another_error(pack_file, tmp_path):
    whole = pack_file.read_bytes()
    rng = np.random.default_rng(2)
    bad = tmp_path / "bad.region"
    for _ in range(150):
        data = bytearray(whole)
        for offset in rng.integers(0, len(whole), 3):
            data[offset] = rng.integers(256)
        tail = len(whole) - int(rng.integers(1, 2500))
        data[tail] ^= 1 << int(rng.integers(8))  # the directory is at the end
        bad.write_bytes(data)
        try:
            RegionPack.open(bad).close()
        except PackError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "update pilotage"),
        ({"format": "1"}, "update pilotage"),
        ({"tiles": 10**9}, "is <f2|not float16|is float16"),
        ({"map_gsd_m": float("nan")}, "not a length"),
        ({"tile_m": 65.0}, "not as many map pixels"),
        ({"unexpected": 1}, "manifest cannot be read"),
        ({"contract": {"model_id": "x"}}, "cannot be read"),
        ({"members": {}}, "is not in the manifest"),
        ({"members": 3}, "manifest cannot be read"),
    ],
)
def test_pack_refuses_a_manifest_that_lies(pack_file, tmp_path, change, message):
    out = tmp_path / "lie.region"
    with zipfile.ZipFile(pack_file) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "manifest.json":
                data = json.dumps({**json.loads(data), **change}).encode()
            target.writestr(info.filename, data)
    with pytest.raises(PackError, match=message):
        RegionPack.open(out)


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "Evil.TXT", "map/../../x.jpg"])
def test_pack_refuses_members_with_no_place_in_it(pack_file, tmp_path, name):
    out = tmp_path / "evil.region"
    out.write_bytes(pack_file.read_bytes())
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(PackError, match="has no place in a region pack"):
        RegionPack.open(out)


def test_pack_refuses_compressed_members(pack_file, tmp_path):
    out = tmp_path / "bomb.region"
    with zipfile.ZipFile(pack_file) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    with pytest.raises(PackError, match="has no place"):
        RegionPack.open(out)


def test_build_leaves_nothing_when_it_fails(tmp_path, monkeypatch):
    class Failing(FakeEngine):
        def run(self, images):
            raise RuntimeError("the power went")

    source = open_map(write_map(tmp_path, picture()))
    with pytest.raises(RuntimeError):
        build_pack(source, tmp_path / "c.region", engine=Failing(), model=b"fake", name="c", config=CONFIG)
    monkeypatch.setattr(build_module, "write_container", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        build_pack(source, tmp_path / "c.region", engine=FakeEngine(), model=b"fake", name="c", config=CONFIG)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corners.json", "map.png"]


def test_build_refuses_a_map_smaller_than_a_tile(tmp_path):
    with pytest.raises(PackError, match="smaller than one tile"):
        build(tmp_path, picture(100, 100))


def test_map_refuses_to_open_what_is_not_there(tmp_path):
    with pytest.raises(MapError, match="no such map file"):
        open_map(tmp_path / "no.png")


def test_search_agrees_with_a_slow_ranking(pack_file):
    rng = np.random.default_rng(3)
    with RegionPack.open(pack_file) as pack:
        searcher = Searcher(pack)
        for _ in range(5):
            query = rng.standard_normal(FAKE_CONTRACT.descriptor).astype(np.float32)
            scores = [float(np.dot(row.astype(np.float64), query)) for row in pack.descriptors]
            ranked = sorted(range(len(pack)), key=lambda i: -scores[i])
            assert [m.tile.index for m in searcher.all(query, k=7)] == ranked[:7]
            here = pack.tile_centres_m[len(pack) // 3]
            near = [i for i in ranked if np.hypot(*(pack.tile_centres_m[i] - here)) <= 45]
            found = searcher.near(query, north_m=here[0], east_m=here[1], radius_m=45, k=4)
            assert [m.tile.index for m in found] == near[:4]
        assert searcher.near(query, north_m=1e6, east_m=0, radius_m=45, k=4) == []
        assert len(searcher.all(query, k=10**6)) == len(pack)


def test_search_uses_the_graph_of_a_large_pack(tmp_path):
    config = BuildConfig(tile_m=64.0, stride_m=8.0, graph_above=100)
    with RegionPack.open(build(tmp_path, picture(), config=config)) as pack:
        assert pack.graph_index() is not None
        query = pack.descriptors[77].astype(np.float32)
        exact = np.argsort(-(pack.descriptors.astype(np.float32) @ query))[:10]
        found = [m.tile.index for m in Searcher(pack).all(query, k=10)]
        assert found[0] == 77
        assert len(set(found) & set(exact)) >= 9


def test_map_window_of_a_utm_geotiff_is_where_an_independent_projection_says(tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="the extra [maps] is not installed")
    from rasterio.transform import from_origin
    from rasterio.warp import transform

    from pilotage.geo import LocalFrame

    pixels = np.full((3, 500, 520), 70, np.uint8)
    pixels[:, 210:214, 330:334] = 250
    path = tmp_path / "utm.tif"
    grid = from_origin(465_000.0, 5_250_000.0, 0.5, 0.5)
    shape = {"width": 520, "height": 500, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=grid, **shape) as out:
        out.write(pixels)
    lons, lats = transform("EPSG:32632", "EPSG:4326", [465_000 + 332 * 0.5], [5_250_000 - 212 * 0.5])
    source = open_map(path)
    assert source.gsd_m == pytest.approx(0.5, rel=0.01)
    frame = LocalFrame(lats[0], lons[0])
    window, valid = source.read(frame, top_north_m=20.0, left_east_m=-20.0, rows=80, columns=80, gsd_m=0.5)
    assert valid.all()
    assert np.argwhere(window[..., 0] > 160).mean(axis=0) == pytest.approx([39.5, 39.5], abs=1.0)
    source.close()
