import json
import math

import numpy as np
import pytest

from pilotage.camera import Camera
from pilotage.errors import CameraError, FlightError
from pilotage.flight import FlightFolder, write_flight
from pilotage.score import score
from pilotage.values import Fix, Frame, TrackState, Truth, Verdict

CAMERA = Camera.from_hfov(64, 48, hfov_deg=80)
HEADER = "file,time_s,height_m,roll_deg,pitch_deg,yaw_deg,lat,lon,alt_m"


def frames(count=3):
    rng = np.random.default_rng(0)
    for i in range(count):
        picture = np.kron(rng.integers(0, 255, (6, 8, 1), dtype=np.uint8), np.ones((8, 8, 3), np.uint8))
        frame = Frame(picture, 10**9 + i * 10**8, 0.01 * i, -0.02, 1.0 + i, 100.0 + i, CAMERA)
        yield frame, Truth(frame.stamp_ns, 47.0 + i * 1e-5, 8.0, 500.0)


@pytest.fixture
def folder(tmp_path):
    write_flight(tmp_path / "flight", CAMERA, frames())
    return tmp_path / "flight"


def rewrite(folder, old, new):
    text = (folder / "frames.csv").read_text()
    assert old in text
    (folder / "frames.csv").write_text(text.replace(old, new, 1))


def test_flight_folder_round_trips(folder):
    flight = FlightFolder(folder)
    assert flight.camera == CAMERA
    assert flight.has_truth
    for (frame, truth), (expected, expected_truth) in zip(flight.frames(), frames(), strict=True):
        assert frame.stamp_ns == expected.stamp_ns
        assert frame.yaw_rad == pytest.approx(expected.yaw_rad, abs=1e-5)
        assert frame.height_m == expected.height_m
        assert truth.lat_deg == pytest.approx(expected_truth.lat_deg, abs=1e-8)
        assert np.abs(frame.image.astype(int) - expected.image).mean() < 6  # JPEG


def test_flight_folder_sorts_by_time(folder):
    lines = (folder / "frames.csv").read_text().splitlines()
    (folder / "frames.csv").write_text("\n".join([lines[0], lines[3], lines[1], lines[2]]))
    assert [e.file for e in FlightFolder(folder).exposures] == ["000000.jpg", "000001.jpg", "000002.jpg"]


def test_flight_folder_reads_without_truth_and_with_further_columns(folder):
    rewrite(folder, "lat,lon,alt_m", "a,b,links")
    assert not FlightFolder(folder).has_truth


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("roll_deg", "rolldeg", "column 'roll_deg' is missing"),
        ("000001.jpg", "nothere.jpg", "1 pictures of frames.csv are missing, the first is 'nothere.jpg'"),
        ("000001.jpg", "../../etc/passwd", "must name a picture inside the folder"),
        ("000001.jpg", "/etc/passwd", "must name a picture inside the folder"),
        (",100.0,", ",nan,", "line 2: height_m is 'nan'"),
        (",100.0,", ",high,", "line 2: height_m is 'high', not a number"),
        ("-1.1459", "inf", "pitch_deg is 'inf'"),
    ],
)
def test_flight_folder_refuses_in_one_line(folder, old, new, message):
    rewrite(folder, old, new)
    with pytest.raises(FlightError, match=message.replace("(", r"\(")) as caught:
        FlightFolder(folder)
    assert "\n" not in str(caught.value)


def test_flight_folder_refuses_what_is_no_flight(tmp_path, folder):
    with pytest.raises(FlightError, match="no such flight folder"):
        FlightFolder(tmp_path / "nowhere")
    (folder / "frames.csv").write_text(HEADER + "\n")
    with pytest.raises(FlightError, match="has no frames"):
        FlightFolder(folder)
    (folder / "frames.csv").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(FlightError):
        FlightFolder(folder)
    (folder / "camera.json").write_text(json.dumps({**CAMERA.to_dict(), "focal": 3}))
    with pytest.raises(CameraError, match="unknown key 'focal'"):
        FlightFolder(folder)


def fix(stamp_s, lat, lon, std=2.0):
    return Fix(round(stamp_s * 1e9), TrackState.TRACKING, Verdict.MATCHED, lat, lon, std, std)


NOTHING = Fix(0, TrackState.SEARCHING, Verdict.NO_MATCH)


def test_score_counts_availability_error_and_false_fixes_apart():
    metre = 1 / 111_195.0  # degrees of latitude near 47.0
    truths = [Truth(i * 10**9, 47.0, 8.0, 0.0) for i in range(5)]
    fixes = [
        NOTHING,
        fix(1, 47.0 + 3 * metre, 8.0),
        fix(2, 47.0 - 1 * metre, 8.0),
        fix(3, 47.0 + 100 * metre, 8.0),
        NOTHING,
    ]
    result = score(fixes, truths)
    assert result.availability == 0.6
    assert result.first_fix_s == 1.0
    assert result.median_error_m == pytest.approx(3, abs=0.02)
    assert result.max_error_m == pytest.approx(100, abs=0.3)
    assert result.false_fix_rate == pytest.approx(1 / 3)
    assert result.coverage_1sigma == pytest.approx(4 / 6)  # three errors east of 0, one north of 1 m


def test_score_of_no_fix_has_no_errors():
    result = score([NOTHING] * 3, [Truth(0, 1.0, 2.0, 3.0)] * 3)
    assert (result.availability, result.fixes, result.median_error_m, result.first_fix_s) == (0.0, 0, None, None)


def test_fix_claims_the_long_axis_of_its_ellipse():
    tilted = Fix(0, TrackState.TRACKING, Verdict.MATCHED, 47.0, 8.0, 3.0, 3.0, cov_north_east_m2=5.0)
    assert tilted.std_horizontal_m == pytest.approx(math.sqrt(np.linalg.eigvalsh([[9, 5], [5, 9]])[-1]))


def test_fix_without_a_position_has_nulls_in_json():
    shown = NOTHING.to_dict()
    assert shown["lat"] is None
    assert shown["std_north_m"] is None
    json.dumps(shown, allow_nan=False)
