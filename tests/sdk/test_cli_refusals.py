"""Bad input at the command line: one clear line that names the thing and the remedy, exit 2, nothing half-written."""

import json
import math

import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.cli import main
from pilotage.flight import write_flight
from pilotage.picture import write_picture
from pilotage.world import FlightPlan, simulate


@pytest.fixture
def folder(tmp_path):
    write_picture(tmp_path / "map.png", np.full((300, 300, 3), 99, np.uint8))
    (tmp_path / "corners.json").write_text(json.dumps({"north": 47.002, "west": 8.0, "south": 47.0, "east": 8.00293}))
    return tmp_path


def refused(capsys, *arguments):
    """Run a command that must be refused; return its one line."""
    code = main([str(a) for a in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    said = [line for line in lines if line.startswith("pilotage: ")]
    assert len(said) == 1
    assert lines[-1] == said[0]
    assert "Traceback" not in "".join(lines)
    return said[0]


def build(folder, **options):
    given = {"-o": folder / "out.region", "--model": "nadir-512", **options}
    return ["pack", "build", given.pop("map", folder / "map.png"), *[part for pair in given.items() for part in pair]]


def left(folder):
    return sorted(p.name for p in folder.iterdir() if ".region" in p.name or p.name.startswith("."))


def test_build_refuses_a_missing_map(folder, capsys):
    assert "nowhere.png: no such map file" in refused(capsys, *build(folder, map=folder / "nowhere.png"))
    assert left(folder) == []


def test_build_refuses_a_map_that_is_not_a_picture(folder, capsys):
    (folder / "map.png").write_bytes(b"not a picture")
    assert "map.png: not a picture that can be decoded" in refused(capsys, *build(folder))
    assert left(folder) == []


def test_build_refuses_a_geotiff_that_is_none(folder, capsys):
    pytest.importorskip("rasterio", reason="the extra [maps] is not installed")
    (folder / "map.tif").write_bytes(b"II*\x00 and then nothing")
    assert "map.tif: not a GeoTIFF" in refused(capsys, *build(folder, map=folder / "map.tif"))


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ({"north": 46.0}, "north must lie above south"),
        ({"east": 7.0}, "west must lie left of east"),
        ({"north": math.nan}, "corners must be finite"),
        ({"north": 89.0}, "within -85..85"),
        ({"east": 8.01}, "do not belong to this picture"),
        ({"north": 47.00000002, "east": 8.00000003}, "check the corners"),
        ({"west": "here"}, "cannot be read as corners"),
    ],
)
def test_build_refuses_corners_that_make_no_sense(folder, capsys, corners, message):
    given = json.loads((folder / "corners.json").read_text())
    (folder / "corners.json").write_text(json.dumps({**given, **corners}))
    assert message in refused(capsys, *build(folder))
    assert left(folder) == []


def test_build_refuses_a_map_without_corners(folder, capsys):
    (folder / "corners.json").unlink()
    assert "give --corners" in refused(capsys, *build(folder))


def test_build_refuses_an_unknown_model(folder, capsys):
    assert "unknown model 'nadir-9'; shipped are nadir-512" in refused(capsys, *build(folder, **{"--model": "nadir-9"}))
    assert "no.onnx: no such model" in refused(capsys, *build(folder, **{"--model": folder / "no.onnx"}))


def test_build_refuses_an_onnx_that_is_not_one(folder, capsys):
    (folder / "bad.onnx").write_bytes(b"\x08\x01 nonsense")
    assert "bad.onnx: ONNX Runtime cannot load it" in refused(
        capsys, *build(folder, **{"--model": folder / "bad.onnx"})
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--tile-m": "0"}, "stride"),
        ({"--tile-m": "nan"}, "stride"),
        ({"--tile-m": "5"}, "far from the 40..160 m"),
        ({"--stride-m": "-3"}, "stride"),
        ({"--tile-m": "300"}, "smaller than one tile"),
        ({"-o": "here.zip"}, "a region pack's name ends in .region"),
        ({"-o": "/nowhere/at/all.region"}, "no such folder"),
    ],
)
def test_build_refuses_options_that_make_no_sense(folder, capsys, options, message):
    assert message in refused(capsys, *build(folder, **options))
    assert left(folder) == []


def test_pack_info_refuses_what_is_no_pack(region, tmp_path, capsys):
    whole = region.pack_file.read_bytes()
    for name, data in (
        ("a", b""),
        ("b", b"hello"),
        ("c", whole[:5000]),
        ("d", whole[:-1]),
        ("e", whole[: len(whole) // 2]),
    ):
        bad = tmp_path / f"{name}.region"
        bad.write_bytes(data)
        assert f"{name}.region: " in refused(capsys, "pack", "info", bad)
    assert "no such pack" in refused(capsys, "pack", "info", tmp_path / "nothing.region")


def locate(region, image, *more):
    options = ["--pack", region.pack_file, "--height-m", "100", "--yaw-deg", "0", *more]
    return ["locate", image, *([*options, "--hfov-deg", "80"] if "--camera" not in more else options)]


def test_locate_refuses_pictures_and_numbers_that_are_none(region, folder, capsys):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    assert "broken.jpg: not a picture" in refused(capsys, *locate(region, folder / "broken.jpg"))
    assert "gone.jpg: no such picture" in refused(capsys, *locate(region, folder / "gone.jpg"))
    assert "--roll-deg is nan" in refused(capsys, *locate(region, folder / "map.png", "--roll-deg", "nan"))


def test_locate_refuses_a_camera_of_another_size(region, folder, capsys):
    (folder / "camera.json").write_text(json.dumps(Camera.from_hfov(640, 480, hfov_deg=80).to_dict()))
    line = refused(capsys, *locate(region, folder / "map.png", "--camera", folder / "camera.json"))
    assert "is for 640x480 px" in line


def test_locate_says_no_position_for_blank_ground_and_exits_0(region, folder, capsys):
    assert main([str(a) for a in locate(region, folder / "map.png", "--json")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["lat"] is None
    assert answer["verdict"] == "bad-image"


@pytest.fixture(scope="module")
def flight(region, tmp_path_factory):
    out = tmp_path_factory.mktemp("flight") / "f"
    camera = Camera.from_hfov(320, 240, hfov_deg=84)
    plan = FlightPlan.draw(region.world, 1, duration_s=1.5)
    write_flight(out, camera, simulate(region.world, plan, camera, seed=1))
    return out


def test_replay_scores_a_flight_folder_and_keeps_its_contract(region, flight, capsys):
    assert main(["replay", str(flight), "--pack", str(region.pack_file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"availability", "median_error_m", "p95_error_m", "max_error_m", "false_fix_rate"} <= set(report)
    assert {"file", "time_s", "state", "verdict", "lat", "lon", "std_north_m"} <= set(report["fixes"][0])
    assert report["frames"] == len(report["fixes"]) == 12
    assert report["median_error_m"] < 5


def test_replay_refuses_nan_attitude(region, flight, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in flight.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    lines = (copy / "frames.csv").read_text().splitlines()
    cells = lines[2].split(",")
    cells[3] = "nan"
    (copy / "frames.csv").write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]))
    line = refused(capsys, "replay", copy, "--pack", region.pack_file)
    assert "line 3: roll_deg is 'nan'" in line


def test_store_installs_keeps_the_previous_and_rolls_back(region, tmp_path, capsys):
    store = ["--store", str(tmp_path / "store"), "--json"]
    assert main(["store", "install", str(region.pack_file), *store]) == 0
    assert json.loads(capsys.readouterr().out)[0]["current"]
    assert "has no previous pack" in refused(capsys, "store", "rollback", *store)
    broken = tmp_path / "broken.region"
    broken.write_bytes(region.pack_file.read_bytes()[:-100])
    assert "broken.region" in refused(capsys, "store", "install", broken, *store)
    assert main(["store", "status", *store]) == 0
    assert [row["current"] for row in json.loads(capsys.readouterr().out)] == [True]
