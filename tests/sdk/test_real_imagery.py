"""Recorded flights against maps of the same flight: an easy test, and the only ground truth that is not ours."""

import pytest

from pilotage import models
from pilotage.engine import open_engine
from pilotage.flight import FlightFolder
from pilotage.maps import open_map
from pilotage.pack import BuildConfig, RegionPack, build_pack
from pilotage.replay import localiser, run
from pilotage.score import score


def pack_of(folder, map_file, *, tile_m, stride_m):
    model = models.path("nadir-512")
    with open_engine(model, threads=2) as engine:
        build_pack(
            open_map(map_file),
            folder / "real.region",
            engine=engine,
            model=model.read_bytes(),
            name="real",
            config=BuildConfig(tile_m=tile_m, stride_m=stride_m),
        )
    return folder / "real.region"


@pytest.mark.parametrize(("name", "availability", "p95_m"), [("brighton_beach", 1.0, 4.0), ("caliterra", 0.9, 5.0)])
def test_single_real_frames_are_found_on_their_map(real_data, tmp_path, name, availability, p95_m):
    pack = pack_of(tmp_path, real_data / name / "map" / "map.png", tile_m=40.0, stride_m=10.0)
    flight = FlightFolder(real_data / name / "flight")
    with localiser(pack) as onboard:
        answers = [(onboard.locate(frame), truth) for frame, truth in flight.frames()]
    result = score([fix for fix, _ in answers], [truth for _, truth in answers])
    assert result.availability >= availability
    assert result.median_error_m < 1.0
    assert result.p95_error_m < p95_m
    assert result.false_fix_rate == 0


def test_a_real_flight_is_tracked_at_one_frame_in_four_seconds(real_data, tmp_path):
    pack = pack_of(tmp_path, real_data / "caliterra" / "map" / "map.png", tile_m=40.0, stride_m=10.0)
    flight = FlightFolder(real_data / "caliterra" / "flight")
    with localiser(pack) as onboard:
        steps = list(run(onboard, flight.frames()))
    result = score([step.fix for step in steps], [step.truth for step in steps])
    assert result.availability > 0.8
    assert result.median_error_m < 1.5
    assert result.false_fix_rate == 0


def test_a_real_geotiff_becomes_a_pack(real_data, tmp_path):
    pytest.importorskip("rasterio", reason="the extra [maps] is not installed")
    source = sorted((real_data / "naip").glob("*.tif"))[0]
    with RegionPack.open(pack_of(tmp_path, source, tile_m=640.0, stride_m=320.0)) as pack:
        assert len(pack) > 50
        assert pack.manifest.map_gsd_m == pytest.approx(5.0)
